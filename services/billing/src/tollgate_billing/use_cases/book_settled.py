"""Books settled holds whose usage event never came, as estimated, with what edge settled them with.

Nothing is noted about what was sent: a hold that is booked is gone, and an event that is sent twice has the same id. So
whoever is killed in the middle does it again.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from tollgate_billing.domain.settled import settled_event
from tollgate_billing.errors import Unavailable
from tollgate_billing.letter_ports import UsageTopic
from tollgate_billing.ports import Ledger, Wallets
from tollgate_billing.telemetry import BillingCounters
from tollgate_kit.clock import Clock

log = logging.getLogger(__name__)

_TOPIC: Final = "usage.recorded.v1"
_MOST: Final = 1_000
_MOST_LOGGED: Final = 20


class BookSettled:
    """`behind` says whether this process has events to book still; `after_seconds` is how long one is waited for.

    What waits in the log, or in spools while the log was away, comes before any estimate: nothing is sent until billing
    has kept up for as long, too.
    """

    def __init__(
        self,
        ledger: Ledger,
        wallets: Wallets,
        topic: UsageTopic,
        behind: Callable[[], bool],
        clock: Clock,
        counters: BillingCounters,
        *,
        after_seconds: float,
    ) -> None:
        self._ledger = ledger
        self._wallets = wallets
        self._topic = topic
        self._behind = behind
        self._clock = clock
        self._counters = counters
        self._after_us = int(after_seconds * 1_000_000)
        self._kept_up_since_us: int | None = None
        # When what was sent, by organization and hold: another process may take long to book it.
        self._sent: dict[str, dict[str, int]] = {}

    def look(self) -> None:
        """Takes note of whether billing keeps up; once before each sweep."""
        if self._behind():
            self._kept_up_since_us = None
        elif self._kept_up_since_us is None:
            self._kept_up_since_us = self._clock.now_us()

    async def __call__(self, organization_id: str, overdue: Sequence[str]) -> int:
        """Sends the events of holds that a sweep has found; returns how many are new. What is away is met next time."""
        now_us = self._clock.now_us()
        before = self._sent.pop(organization_id, {})
        sent = {name: before[name] for name in overdue if name in before}
        if sent:
            self._sent[organization_id] = sent
        if self._kept_up_since_us is None or now_us - self._kept_up_since_us < self._after_us:
            return 0
        due = [name for name in overdue if name not in sent or sent[name] + self._after_us <= now_us][:_MOST]
        try:
            names = await self._send(organization_id, due, now_us) if due else []
        except Unavailable as error:
            log.warning("settled holds are not booked now", extra={"fields": {"reason": str(error)}})
            return 0
        fresh = [name for name in names if name not in sent]
        self._sent.setdefault(organization_id, {}).update(dict.fromkeys(names, now_us))
        self._counters.add("estimated_holds", len(fresh))
        for name in fresh[:_MOST_LOGGED]:
            fields = {"organization_id": organization_id, "request_id": name}
            log.error("a settled hold is booked as estimated: its usage event never came", extra={"fields": fields})
        return len(fresh)

    async def _send(self, organization_id: str, hold_ids: Sequence[str], now_us: int) -> list[str]:
        """Returns the holds whose events are in the log now. Raises Unavailable."""
        currency, _ = await self._ledger.balance(organization_id)
        records = {}
        for hold_id in hold_ids:
            hold = await self._wallets.find_hold(organization_id, hold_id)
            # It may have been booked since, and whoever has no currency has no money that was settled.
            if hold is None or hold.state != "settled" or not currency:
                continue
            event = settled_event(
                organization_id,
                hold_id,
                charge_pico=hold.amount_pico,
                currency=currency,
                settled_us=hold.at_us,
                now_us=now_us,
                budgets=hold.budgets,
            )
            records[hold_id] = (event.request_id.encode(), event.SerializeToString())
        if records:
            await self._topic.send(_TOPIC, list(records.values()))
        return list(records)
