"""Looks at the last whole hour of keys, projects and models that were used in it, once it can be thought complete."""

from collections.abc import Mapping
from typing import Any, Final

from tollgate_billing.control_ports import Anomalies, Fact, Spending
from tollgate_billing.domain.anomalies import (
    BASELINE_US,
    FEWEST_REPEATS,
    SPEND_BASELINE_US,
    Anomaly,
    find,
    find_addresses,
    find_repeats,
    find_wide,
)
from tollgate_billing.domain.budgets import HOUR_US
from tollgate_kit.clock import Clock

# Requests are booked when they end: those that began in the hour and ran on are given this long.
_GRACE_US: Final = 10 * 60 * 1_000_000


class WatchAnomalies:
    def __init__(self, anomalies: Anomalies, spending: Spending, clock: Clock) -> None:
        self._anomalies = anomalies
        self._spending = spending
        self._clock = clock
        self._looked_us = -1

    async def step(self) -> int:
        """Looks at an hour that was not looked at by this process; returns how many anomalies are new.

        Raises Unavailable. Another process, or this one after a start, may look again: what was told stays told.
        """
        hour_us = (self._clock.now_us() - _GRACE_US) // HOUR_US * HOUR_US - HOUR_US
        if hour_us == self._looked_us:
            return 0
        since_us, until_us = hour_us - BASELINE_US, hour_us + HOUR_US
        window = (hour_us - SPEND_BASELINE_US, until_us, hour_us)
        hours = await self._spending.key_hours(*window)
        found = find(hours, hour_us)
        found += find_wide(await self._spending.project_hours(*window), hours, found, hour_us)
        found += find_addresses(await self._spending.key_networks(since_us, until_us, hour_us), hour_us)
        found += find_repeats(await self._spending.repeats(since_us, until_us, hour_us, FEWEST_REPEATS), hour_us)
        keys = sorted({(one.organization_id, one.api_key_id) for one in found if one.api_key_id})
        whose = await self._spending.members(keys, hour_us, until_us) if keys else {}
        facts = {one.id: _fact(one, whose.get(one.api_key_id, "")) for one in found}
        new = await self._anomalies.add(found, facts, self._clock.now_us())
        self._looked_us = hour_us
        return new

    async def list(self, organization_id: str, limit: int, before_id: str) -> list[Anomaly]:
        """Returns anomalies, newest first. Raises Unavailable."""
        return await self._anomalies.list(organization_id, limit, before_id)


def _fact(one: Anomaly, member: str) -> Fact:
    content: Mapping[str, Any] = {
        "about": "anomaly",
        "kind": one.kind,
        "organization_id": one.organization_id,
        "project_id": one.project_id,
        "api_key_id": one.api_key_id,
        "member": member,
        "subject": one.subject,
        "numbers": dict(one.numbers),
        "hour_us": one.hour_us,
    }
    return Fact(f"anomaly/{one.id}"[:512], one.organization_id, "anomaly", content)
