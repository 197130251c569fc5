"""What became of a request: lists of single requests, refused ones among them, and all that is known of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tollgate_billing.domain.judge import LogPlace
from tollgate_billing.domain.rows import Row, booked_of, to_pico
from tollgate_billing.domain.used_units import units_of_row
from tollgate_billing.domain.verify import missing
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.ports import (
    HoldRecord,
    Ledger,
    Place,
    PostedTransfer,
    Prices,
    RequestFilter,
    RequestLog,
    UsageQueries,
    Wallets,
)
from tollgate_holds import hold_id_of
from tollgate_rating import ExchangeRate, Line, RatingError

KINDS: Final = ("", "usage", "refused")
# A request has two tries of a few attempts each.
_MOST_ROWS: Final = 1_000
_HALF: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Rerating:
    """A charge of a row, computed again; `problem` says why that could not be done. Amounts in pico-units."""

    row: Row
    price_book: str
    lines: tuple[Line, ...]
    charged_pico: int
    rated_pico: int
    problem: str = ""
    # Where the price was converted.
    exchange: ExchangeRate | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one request. `rows` in the order in which they came; empty when nothing is known."""

    rows: Sequence[Row]
    refused: Sequence[Row]
    ratings: Sequence[Rerating] = ()
    hold: HoldRecord | None = None
    ledger: Sequence[PostedTransfer] = ()
    mismatches: Sequence[Row] = ()

    @property
    def charge_pico(self) -> int:
        return sum(to_pico(row["charge"]) for row in self.rows)

    @property
    def superseded(self) -> frozenset[tuple[bytes, LogPlace]]:
        """The events that lost to another one when they were booked or since, and where each was in the log.

        Of an event that came twice, only one of both may be taken back.
        """
        booked = booked_of(self.rows).values()
        return frozenset((one.event_id, one.place) for of in booked for one in of if one.superseded)


class LookAtRequests:
    def __init__(
        self, queries: UsageQueries, request_log: RequestLog, ledger: Ledger, wallets: Wallets, prices: Prices
    ) -> None:
        self._queries = queries
        self._log = request_log
        self._ledger = ledger
        self._wallets = wallets
        self._prices = prices

    async def page(
        self, where: RequestFilter, kind: str, limit: int, before: Place | None
    ) -> tuple[list[tuple[str, Row]], Place | None]:
        """Returns (kind, row) newest first, and the place that the next page begins behind.

        Raises InvalidQuery or Unavailable.
        """
        if kind not in KINDS:
            raise InvalidQuery(f"no kind of request is called {kind!r}; allowed: usage, refused")
        found: list[tuple[str, Row]] = []
        if kind != "refused" and not where.http_status and where.status != "refused" and where.outcome != "refused":
            found += [
                ("usage", row) for row in await self._queries.requests(where, where.request_id, limit + 1, before)
            ]
        if kind != "usage":
            found += [("refused", row) for row in await self._log.find(where, limit + 1, before)]
        found.sort(key=lambda one: order_of(one[1]), reverse=True)
        shown = found[:limit]
        return shown, place_of(shown[-1][1]) if len(found) > limit else None

    async def evidence(self, request_id: str, organization_id: str) -> Evidence:
        """Returns all that is known of a request of an organization, or of any. Raises Unavailable."""
        where = RequestFilter(organization_id=organization_id, request_id=request_id)
        rows = await self._queries.requests(where, request_id, _MOST_ROWS, None)
        refused = await self._log.find(where, 1, None)
        rows.sort(key=lambda row: (row["logged_at_us"], row["src_offset"], row["src_index"]))
        if not rows:
            return Evidence(rows, refused)
        return Evidence(
            rows,
            refused,
            await self._rated(rows),
            await self._held(rows[0]["organization_id"], request_id),
            await self._posted(rows),
            await self._queries.mismatches(request_id),
        )

    async def _held(self, organization_id: str, request_id: str) -> HoldRecord | None:
        """Returns what the request holds now: its second try, which takes over what the first one held, or the first.

        The first one's hold stays as a tombstone then, which says that it was given back.
        """
        for number in (2, 1):
            found = await self._wallets.find_hold(organization_id, hold_id_of(request_id, number))
            if found is not None:
                return found
        return None

    async def _rated(self, rows: Sequence[Row]) -> list[Rerating]:
        """Rates again what carries a charge: finals that neither lost nor were taken back."""
        booked = booked_of(rows)
        standing: list[Any] = [
            one.row
            for of_request in booked.values()
            for one in of_request
            if one.final and not one.superseded and one.row["price_digest"]
        ]
        unknown = {row[name]: row["config_digest"] for row in standing for name in ("price_digest", "rate_digest")}
        if unknown := {one: version for one, version in unknown.items() if one and not self._prices.knows(one)}:
            await self._prices.learn(unknown)
        return [self._rate(row) for row in standing]

    def _rate(self, row: Row) -> Rerating:
        charged = to_pico(row["charge"])
        book, rate = row["price_digest"], row["rate_digest"]
        price = self._prices.find(book, row["model"], row["price_group"], rate)
        if price is None:
            return Rerating(row, "", (), charged, 0, missing(self._prices, book, rate))
        units = units_of_row(row)
        try:
            lines = price.lines(units, row["started_at_us"], row["service_tier"])
        except RatingError as error:
            return Rerating(row, price.book, (), charged, 0, str(error))
        total = sum(line.amount_pico for line in lines)
        return Rerating(row, price.book, lines, charged, total, exchange=price.exchange)

    async def _posted(self, rows: Sequence[Row]) -> list[PostedTransfer]:
        names = ("batch", "organization_id", "project_id", "model", "price_digest", "rate_digest")
        posted: list[PostedTransfer] = []
        for named in dict.fromkeys(tuple(row[name] for name in names) for row in rows):
            posted += await self._ledger.posted(*named)
        return posted


def place_of(row: Mapping[str, Any]) -> Place:
    """Returns what names a row in a list."""
    return row["started_at_us"], str(row["event_id"])


def order_of(row: Mapping[str, Any]) -> tuple[int, int, int]:
    """Returns where a row stands in lists: as the engine orders ids, by their second half first."""
    number = row["event_id"].int
    return row["started_at_us"], number & _HALF, number >> 64
