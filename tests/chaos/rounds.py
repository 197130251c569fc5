"""One round: mixed load, accidents at random moments, rest, and every book held against the others."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final

from tests.chaos.accidents import CLUSTER, KINDS, SERVICES, Accident, draw, happen
from tests.chaos.answers import DEADLINE_SECONDS, Moment, check_answers
from tests.chaos.cluster import Cluster
from tests.integration.audit import (
    COUNTED,
    Auditor,
    Books,
    billed,
    charged_finals,
    check_money,
    check_replies,
    whole_entries,
)
from tests.integration.product import Product
from tests.integration.traffic import Answer, Crowd, mixed_calls

# What a dead process held or worked on is given up soon, and is looked for often. Streams are renewed soon, since one
# that is open does not take the way on which the network is cut.
SETTINGS: Final = {
    "TOLLGATE_ROUTER_STREAM_AGE_SECONDS": "2",
    "TOLLGATE_EDGE_HOLD_TTL_SECONDS": "10",
    "TOLLGATE_MEDIA_JOBS_HOLD_SECONDS": "10",
    "TOLLGATE_MEDIA_JOBS_LEASE_SECONDS": "5",
    "TOLLGATE_MEDIA_JOBS_UNKNOWN_GRACE_SECONDS": "5",
    "TOLLGATE_MEDIA_JOBS_OUTBOX_LEASE_SECONDS": "5",
    "TOLLGATE_BILLING_RECONCILE_SECONDS": "2",
    "TOLLGATE_EDGE_REQUEST_TIMEOUT_SECONDS": f"{DEADLINE_SECONDS:g}",
}
CLIENTS: Final = 12
MOST_ACCIDENTS: Final = 4
_CALLS: Final = 400
_KINDS: Final = {"chat": 10, "stream": 10, "embeddings": 5}
# What is waited for may take this long on a loaded machine; nothing is measured by it.
_PATIENCE_SECONDS: Final = 180.0
# Answers stop coming while everything is down: the next accident happens all the same.
_STANDSTILL_SECONDS: Final = 5.0
# A broker is asked for its end every two seconds, and a member or a producer that is broken is replaced within two
# minutes: how long nothing has to move, and how long that is waited for.
_CLUSTER_RESTS: Final = {"steady_seconds": 5.0, "rest_seconds": 300.0}


@dataclass(frozen=True, slots=True)
class Round:
    """What was done, and what was added to every book."""

    accidents: Sequence[Accident]
    answers: Sequence[Answer]
    books: Books
    # Processes that were killed, by service.
    kills: Counter[str] = field(default_factory=Counter)
    # When each of the accidents was.
    moments: Sequence[Moment] = ()

    def __str__(self) -> str:
        statuses = Counter(str(row["status"]) for row in self.books.rows if row["kind"] == "usage")
        rows = ", ".join(f"{count} {name}" for name, count in sorted(statuses.items()))
        answered = sum(answer.answered for answer in self.answers)
        happened = "; ".join(map(str, self.accidents)) or "no accident"
        return (
            f"{happened}\n    {len(self.answers)} requests, {answered} answered whole; rows: {rows};"
            f" {self.books.spent_pico} pico-units in every book"
        )


def draw_accidents(
    source: Random, most: int = MOST_ACCIDENTS, kinds: Sequence[str] = KINDS, profile: str = "embedded"
) -> list[Accident]:
    """Returns the accidents of a round."""
    services = CLUSTER if profile == "cluster" else SERVICES
    return [draw(source, kinds, services) for _ in range(source.randint(1, most))]


def run_round(product: Product, accidents: Sequence[Accident], source: Random, cluster: Cluster | None = None) -> Round:
    """Runs a round to its rest. Raises AssertionError or ServerFailedError when the product does not come back."""
    auditor = Auditor(product, **(_CLUSTER_RESTS if cluster else {}))
    crowd = Crowd(product.base_url, auditor.key, CLIENTS)
    happens = partial(happen, product=product, cluster=cluster)
    kills, moments = asyncio.run(_load(product, crowd, accidents, happens, source.randint(0, 2**32)))
    answered = [answer for answer in crowd.answers if answer.answered]
    return Round(accidents, crowd.answers, auditor.close([answer.request_id for answer in answered]), kills, moments)


async def _load(
    product: Product,
    crowd: Crowd,
    accidents: Sequence[Accident],
    happens: Callable[[Accident], Counter[str]],
    calls: int,
) -> tuple[Counter[str], list[Moment]]:
    kills: Counter[str] = Counter()
    moments = []
    stopping = asyncio.Event()
    load = asyncio.create_task(crowd.send_until(stopping, mixed_calls(_CALLS, seed=calls)))
    try:
        await _answers(crowd, _KINDS, _PATIENCE_SECONDS)
        for accident in accidents:
            await _answers(crowd, {"": accident.after}, _STANDSTILL_SECONDS)
            began = time.monotonic()
            kills += await asyncio.to_thread(happens, accident)
            moments.append(Moment(accident, began, time.monotonic()))
        if not await _answers(crowd, _KINDS, _PATIENCE_SECONDS):
            raise AssertionError(f"nothing is answered any more after {accidents[-1]}:\n{product.child.tail()}")
    finally:
        stopping.set()
        await load
    return kills, moments


async def _answers(crowd: Crowd, wanted: Mapping[str, int], seconds: float) -> bool:
    """Waits until so many more of each kind ("": of all together) were answered whole; False when they were not."""
    before = _answered(crowd)

    async def all_there() -> None:
        # Clients outside know of no event.
        while any(_answered(crowd)[kind] < before[kind] + count for kind, count in wanted.items()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    try:
        await asyncio.wait_for(all_there(), seconds)
    except TimeoutError:
        return False
    return True


def _answered(crowd: Crowd) -> Counter[str]:
    found = Counter(answer.call.kind for answer in crowd.answers if answer.answered)
    return found + Counter({"": found.total()})


def check_round(found: Round) -> None:
    """Holds all books against each other.

    Wallet, ledger, rows and the store's sums are the same money. Every answer that a client has whole is charged once,
    for what the client was told and the provider counted. No row says what the provider did not count. What the
    provider counted and no row says was on its way through a process that died: a request that was not answered, or
    was tried again. Callers were told what they can act on, in time, unless it was edge that was broken.
    """
    books, answers = found.books, found.answers
    answered = [answer for answer in answers if answer.answered]
    check_answers(answers, found.moments)
    check_money(books)
    finals = charged_finals(books.rows)
    assert {answer.request_id: len(finals[answer.request_id]) for answer in answered} == {
        answer.request_id: 1 for answer in answered
    }
    check_replies(books, answered)
    recorded, counted = _recorded(books), _counted(books)
    invented = recorded - counted
    assert not invented, f"rows say what the provider did not count: {invented}"
    unaccounted, disturbed = counted - recorded, len(_disturbed(books, answers))
    assert unaccounted.total() <= disturbed, f"{disturbed} requests were disturbed, but no row says {unaccounted}"


def _counted(books: Books) -> Counter[tuple[object, ...]]:
    """Returns the provider's whole answers by model and units."""
    return Counter(_key(str(entry["model"]), billed(entry)) for entry in whole_entries(books))


def _recorded(books: Books) -> Counter[tuple[object, ...]]:
    """Returns the rows of whole answers whose usage the provider said, by model and units."""
    named = {field: unit for unit, field in COUNTED.items()}
    return Counter(
        _key(str(row["upstream_model"]), {unit: int(row[field]) for field, unit in named.items()})
        for row in books.rows
        if row["kind"] == "usage" and row["outcome"] == "ok" and not row["estimated"]
    )


def _key(model: str, units: Mapping[str, Any]) -> tuple[object, ...]:
    return (model, *sorted((unit, int(count)) for unit, count in units.items() if unit in COUNTED and int(count)))


def _disturbed(books: Books, answers: Sequence[Answer]) -> set[str]:
    """Returns the requests that a client did not get whole, or that were tried more than once."""
    again = {str(row["request_id"]) for row in books.rows if int(row["try"]) > 1 or int(row["attempt"]) > 1}
    nameless = {f"unanswered {number}" for number, answer in enumerate(answers) if not answer.answered}
    return again | nameless
