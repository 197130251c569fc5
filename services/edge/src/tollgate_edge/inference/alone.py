"""While Redis is away: who pays later may go on, within limits that this process keeps, and up to a sum unverified."""

from collections.abc import Callable

from tollgate_edge.inference.limits import Ticket
from tollgate_holds import HoldResult
from tollgate_holds.local import LocalLimits


class Alone:
    """What one process admits by itself. `now` gives seconds of a clock that does not go back.

    `cap_pico` is what an organization may have spent or begun to spend since Redis went away, in pico-units of its
    currency. Everything is forgotten when Redis is back: `era` tells a ticket from before.
    """

    def __init__(self, cap_pico: int, now: Callable[[], float]) -> None:
        self._cap = cap_pico
        self._now = now
        self._limits = LocalLimits()
        self._spent: dict[str, int] = {}
        self._era = 1
        self.admitted = 0

    def hold(self, hold_id: str, amount_pico: int, ticket: Ticket) -> HoldResult:
        """Admits a request within its limits and the cap, or says why not."""
        organization = ticket.limits.organization
        spent = self._spent.get(organization, 0)
        if spent + amount_pico > self._cap:
            ticket.verdict = [int(HoldResult.UNVERIFIED)]
            return HoldResult.UNVERIFIED
        ticket.verdict = self._limits.hold(ticket.limits, hold_id, ticket.tokens, int(self._now() * 1000))
        result = HoldResult(ticket.verdict[0])
        if result is HoldResult.DONE:
            ticket.era, ticket.amount_pico = self._era, amount_pico
            self._spent[organization] = spent + amount_pico
            self.admitted += 1
        return result

    def finish(self, hold_id: str, ticket: Ticket, cost_pico: int, *, tokens: int, requests: int = 0) -> None:
        """A request has ended at this cost; `tokens` and `requests` correct what was counted for it."""
        if ticket.era == self._era:
            self._spent[ticket.limits.organization] += cost_pico - ticket.amount_pico
            self._limits.finish(ticket.limits, hold_id, ticket.second, tokens=tokens, requests=requests)

    def unverified_pico(self) -> int:
        """Returns what all organizations have spent or begun to spend unverified."""
        return sum(self._spent.values())

    def clear(self) -> None:
        """Redis is back."""
        self._era += 1
        self._limits.clear()
        self._spent.clear()
