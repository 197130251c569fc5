"""Sends what waits in the outbox: at least once, under an id that stays the same."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from tollgate_billing.control_ports import Destinations, Letter, Message, Notice, Outbox, Outcome, Sender
from tollgate_billing.domain.control_checks import check_destination
from tollgate_billing.domain.delivery import Destination, retry_at
from tollgate_billing.domain.notices import paragraph, title
from tollgate_billing.errors import NotFound
from tollgate_billing.telemetry import BillingCounters
from tollgate_kit.clock import Clock

log = logging.getLogger(__name__)

# Longer than any attempt takes; then somebody else may try.
_LEASE_US: Final = 60 * 1_000_000
# No more than are sent side by side, so that none waits for its turn while its lease runs.
AT_ONCE: Final = 8


class DeliverNotices:
    """`reached` is told each step that is behind, for tests that end the process there."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        destinations: Destinations,
        sender: Sender,
        clock: Clock,
        counters: BillingCounters,
        new_id: Callable[[str], str],
        reached: Callable[[str], None],
    ) -> None:
        self._outbox = outbox
        self._destinations = destinations
        self._sender = sender
        self._clock = clock
        self._counters = counters
        self._new_id = new_id
        self._reached = reached

    async def step(self) -> int:
        """Sends what is due; returns how many messages were tried. Raises Unavailable."""
        now_us = self._clock.now_us()
        messages = await self._outbox.take(now_us, now_us + _LEASE_US, AT_ONCE)
        if messages:
            self._reached("after_lease")
        await asyncio.gather(*map(self._send, messages))
        return len(messages)

    async def _send(self, message: Message) -> None:
        destination, facts = message.destination, [one.content for one in message.notices]
        letter = _letter(message.id, destination, message.notices, self._clock.now_us())
        outcome = await self._deliver(destination, letter)
        self._reached("after_send")
        now_us, attempts = self._clock.now_us(), message.notices[0].attempts
        again = bool(outcome.problem) and not outcome.final
        retry_us = retry_at(attempts, now_us, outcome.retry_after_seconds) if again else 0
        await self._outbox.settle(message, outcome, now_us, retry_us)
        if not outcome.problem:
            self._counters.add("notices_sent", len(facts))
            return
        self._counters.add("notice_failures")
        fields = {"destination": destination.id, "message": message.id, "why": outcome.problem, "attempt": attempts}
        if retry_us:
            log.warning("a notice was not taken; trying again later", extra={"fields": fields})
        else:
            self._counters.add("notices_given_up", len(facts))
            log.error("a notice is given up", extra={"fields": fields})

    async def add(self, destination: Destination) -> Destination:
        """Keeps a new destination. Raises InvalidControl, NameTaken or Unavailable."""
        check_destination(destination)
        made = replace(destination, id=self._new_id("dst"), created_us=self._clock.now_us())
        await self._destinations.add(made)
        return made

    async def list_destinations(self) -> Sequence[Destination]:
        """Returns all destinations by name. Raises Unavailable."""
        return await self._destinations.list()

    async def list_notices(self, limit: int, before_id: str) -> Sequence[Notice]:
        """Returns notices, newest first. Raises Unavailable."""
        return await self._outbox.list(limit, before_id)

    async def delete(self, destination_id: str) -> None:
        """Removes a destination; what waits for it is not sent. Raises NotFound or Unavailable."""
        if not await self._destinations.remove(destination_id):
            raise NotFound("there is no such destination")

    async def test(self, destination_id: str) -> Outcome:
        """Sends a message now, past digest and quiet hours; says what became of it. Raises NotFound or Unavailable."""
        found = await self._destinations.get(destination_id)
        if found is None:
            raise NotFound("there is no such destination")
        notice = Notice(
            id=self._new_id("ntc"),
            destination_id=found.id,
            organization_id=found.organization_id,
            about="test",
            content={"about": "test", "destination": found.name},
        )
        return await self._deliver(found, _letter(notice.id, found, [notice], self._clock.now_us()))

    async def _deliver(self, destination: Destination, letter: Letter) -> Outcome:
        # Not for good: somebody may bring the key back.
        return Outcome(destination.problem) if destination.problem else await self._sender.send(destination, letter)


def _letter(message_id: str, destination: Destination, notices: Sequence[Notice], now_us: int) -> Letter:
    facts = tuple(one.content for one in notices)
    language, zone = destination.language, destination.time_zone
    single = len(facts) == 1
    paragraphs = tuple(
        paragraph(one, language, zone) if single else f"{title([one], language)}\n{paragraph(one, language, zone)}"
        for one in facts
    )
    return Letter(message_id, title(facts, language), paragraphs, now_us, facts)
