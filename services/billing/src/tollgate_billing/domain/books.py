"""Whether raw usage, its sums, ledger, wallets and holds say the same; each difference is named by request or batch.

| difference        | means                                                                              |
|-------------------|------------------------------------------------------------------------------------|
| charge            | rows of a batch were charged otherwise than the ledger took from the wallet        |
| cost, loss        | the same for what providers cost us                                                |
| unposted_batch    | rows of a batch are in the usage store, and the ledger has not got it               |
| repeated_event    | an event has more than one row                                                     |
| double_charge     | more than one final of a request carries a charge                                  |
| account           | an account of the ledger is not the sum of its transfers                           |
| wallet            | a wallet is not the ledger's balance less what is held and settled and not booked  |
| wallet_beyond     | a wallet would be beyond what Redis counts                                         |
| expired_hold      | a hold is still there, long after its time was up                                  |
| unbooked_hold     | a hold was settled, and nobody booked it                                           |
| leaked_hold       | a request is booked, and its hold is still there                                   |
| mismatch          | router and billing computed different charges                                      |
| poison            | a record of the log could not be used                                              |
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tollgate_billing.domain.postings import ADJUSTMENT, LOSS, PAYABLE, PROVIDER_COST, REVENUE, WALLET
from tollgate_billing.domain.rollups import ROLLUPS
from tollgate_rating import INT64_MAX

KINDS: Final = (
    *("charge", "cost", "loss", "unposted_batch", "repeated_event", "double_charge", "account", "wallet"),
    *("wallet_beyond", "expired_hold", "unbooked_hold", "leaked_hold", "mismatch", "poison"),
    *(rollup.kind for rollup in ROLLUPS.values()),
)
_CHARGE: Final = {(WALLET, REVENUE): 1, (ADJUSTMENT, WALLET): -1}
_COST: Final = {(PROVIDER_COST, PAYABLE): 1, (LOSS, PAYABLE): 1, (PAYABLE, PROVIDER_COST): -1}
_LOSS: Final = {(LOSS, PAYABLE): 1, (LOSS, PROVIDER_COST): 1}


_REFILL: Final = "`tollgate usage refill {}` makes these sums again, once rows and ledger agree on their time"
# What is to be done about kinds of differences of which that is one thing.
_NEXT_STEPS: Final[Mapping[str, str]] = {
    **{rollup.kind: _REFILL.format(rollup.name) for rollup in ROLLUPS.values()},
    "wallet_beyond": (
        "nothing has to be mended; a payment or `tollgate credit correct` brings it back to what Redis counts"
    ),
    "unbooked_hold": (
        "find its event: in a spool (start the router again with its disk) or among `tollgate dlq list`; nothing has to"
        " be charged by hand: billing books it as estimated once it has kept up for"
        " TOLLGATE_BILLING_UNBOOKED_HOLD_SECONDS, and an event that comes later takes the place of that"
    ),
}


def nearest(amount_pico: int) -> int:
    """Returns the amount, or the nearest to it that int64 holds."""
    return max(-INT64_MAX, min(amount_pico, INT64_MAX))


class BatchLine(NamedTuple):
    """What rows and transfers of one batch have in common."""

    batch: str
    organization_id: str
    project_id: str
    model: str
    price_digest: str
    currency: str


class Amounts(NamedTuple):
    """In pico-units."""

    charge: int = 0
    cost: int = 0
    loss: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not agree. `found` and `expected` in pico-units where it is about money.

    `rollup` names the table of a sum, and `bucket_us` when its bucket begins; both are empty of anything else.
    """

    kind: str
    detail: str
    organization_id: str = ""
    batch: str = ""
    request_ids: tuple[str, ...] = ()
    found_pico: int = 0
    expected_pico: int = 0
    project_id: str = ""
    model: str = ""
    rollup: str = ""
    bucket_us: int = 0

    @property
    def next_step(self) -> str:
        """What to do about it, for people; empty where that depends."""
        return _NEXT_STEPS.get(self.kind, "")


@dataclass(slots=True)
class Report:
    """What was compared, and every difference; `cut` counts those that are not written out."""

    from_us: int
    to_us: int
    batches: int = 0
    rows: int = 0
    organizations: int = 0
    holds: int = 0
    differences: list[Difference] = field(default_factory=list)
    cut: int = 0

    def add(self, differences: Iterable[Difference], most: int) -> None:
        """Takes differences in, each once, up to `most` in all."""
        for one in differences:
            if one in self.differences:
                continue
            if len(self.differences) < most:
                self.differences.append(one)
            else:
                self.cut += 1


def amounts_of(transfers: Iterable[tuple[BatchLine, str, str, int]]) -> dict[BatchLine, Amounts]:
    """Returns what transfers (line, debit, credit, amount) say rows of their batch were charged, cost and lost."""
    sums: dict[BatchLine, list[int]] = {}
    for line, debit, credit, amount in transfers:
        entry = sums.setdefault(line, [0, 0, 0])
        for place, signs in enumerate((_CHARGE, _COST, _LOSS)):
            entry[place] += signs.get((debit, credit), 0) * amount
    return {line: Amounts(*entry) for line, entry in sums.items()}


def compare(
    raw: Mapping[BatchLine, Amounts], ledger: Mapping[BatchLine, Amounts]
) -> list[tuple[BatchLine, str, int, int]]:
    """Returns (line, kind, raw, ledger) of everything in which both differ, in order of the lines."""
    found = []
    for line in sorted({*raw, *ledger}):
        said, booked = raw.get(line, Amounts()), ledger.get(line, Amounts())
        found += [
            (line, kind, left, right)
            for kind, left, right in zip(Amounts._fields, said, booked, strict=True)
            if left != right
        ]
    return found


class BatchName(NamedTuple):
    """A batch by its parts: `source` is a partition of one life of the log."""

    source: str
    low: int
    high: int


def parse_batch(batch: str) -> BatchName | None:
    """Returns the parts of a batch's name, or None for another name."""
    source, _, bounds = batch.rpartition("/")
    low, _, high = bounds.partition("-")
    if not source or not low.isdecimal() or not high.isdecimal():
        return None
    return BatchName(source, int(low), int(high))


def is_posted(batch: str, heights: Mapping[str, int]) -> bool:
    """Tells whether the ledger has got as far as this batch."""
    name = parse_batch(batch)
    return name is not None and heights.get(name.source, 0) >= name.high


def missing_offsets(batch: str, offsets: Sequence[int], most: int) -> list[int]:
    """Returns the first places of a batch that no row came from: lost rows, duplicates that were dropped, or poison."""
    name = parse_batch(batch)
    if name is None:
        return []
    present = set(offsets)
    found: list[int] = []
    for offset in range(name.low, name.high):
        if offset not in present:
            found.append(offset)
            if len(found) == most:
                break
    return found
