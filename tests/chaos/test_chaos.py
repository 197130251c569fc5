"""One round with an accident of each kind adds up, and books that were tampered with do not."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from tests.chaos.accidents import (
    KINDS,
    NETWORK,
    SEVERAL,
    SILENCE,
    SILENT_SECONDS,
    Accident,
    draw,
    happen,
    with_network,
)
from tests.chaos.builds import quick_pings
from tests.chaos.network import CUT, STALL, disturb
from tests.chaos.rounds import SETTINGS, Round, check_round, run_round
from tests.integration.product import Product
from tests.servers.process import Child, alive, free_port, wait_until

pytestmark = pytest.mark.integration

ACCIDENTS = [
    Accident("full disk", ("router",), 0, 0.5),
    Accident("stand still", ("billing",), 5, 0.5),
    Accident("kill", ("router", "valkey"), 5, 0.0),
    Accident("kill the supervisor", (), 10, 0.0),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Round]:
    """A round with these accidents, at its rest."""
    flags = ["--port", str(free_port())]
    product = Product(tmp_path_factory.mktemp("chaos"), flags, environment=SETTINGS)
    try:
        product.start()
        yield run_round(product, ACCIDENTS, Random(1))
    finally:
        product.stop()


def test_every_book_adds_up_after_a_round(found):
    check_round(found)
    # There was something to add up, and the accidents were felt.
    assert sum(answer.answered for answer in found.answers) >= 50
    assert any(not answer.whole for answer in found.answers)


def test_what_a_silent_router_had_is_asked_of_another_and_charged_once(tmp_path):
    paths = os.pathsep.join(filter(None, [str(quick_pings(tmp_path)), os.environ.get("PYTHONPATH", "")]))
    flags = ["--port", str(free_port()), "--workers", "2"]
    product = Product(tmp_path, flags, environment=SETTINGS | {"PYTHONPATH": paths})
    try:
        product.start()
        assert len(product.pids("router")) == 2
        silent = run_round(product, [Accident(SILENCE, ("router",), 5, SILENT_SECONDS)], Random(3))
    finally:
        product.stop()
    check_round(silent)
    again = {str(row["request_id"]) for row in silent.books.rows if int(row["try"]) > 1}
    answered = {answer.request_id for answer in silent.answers if answer.answered}
    # They waited for the silent one, and have a whole answer of the other.
    assert again & answered
    # Edge wrote down that it lost the first try of each, whatever the silent one says of it since it woke up.
    lost = {str(row["request_id"]) for row in silent.books.rows if row["status"] == "witness"}
    assert lost >= again


def test_a_network_that_is_cut_and_stalls_costs_nobody_money(tmp_path):
    product = Product(tmp_path, ["--port", str(free_port())], environment=SETTINGS)
    accidents = [Accident(CUT, ("router",), 20, 0.5), Accident(STALL, ("router",), 20, 0.5)]
    try:
        product.start()
        cut = run_round(product, [*accidents, Accident(CUT, ("router",), 40, 0.0)], Random(5))
    finally:
        product.stop()
    check_round(cut)
    # It was felt: edge lost the router of some, and wrote that down.
    assert {str(row["request_id"]) for row in cut.books.rows if row["status"] == "witness"}
    assert sum(answer.answered for answer in cut.answers) >= 50


async def asked(path):
    """Returns what who listens there says."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"?")
    said = await reader.read(9)
    writer.close()
    return said


def saying(word):
    async def say(reader, writer):
        if await reader.read(1):
            writer.write(word)
        writer.close()

    return say


@pytest.mark.parametrize("kind", NETWORK)
async def test_the_way_is_what_it_was_when_the_network_is_back(tmp_path, kind):
    path = tmp_path / "router-0.sock"
    async with await asyncio.start_unix_server(saying(b"router"), path):
        disturbance = asyncio.create_task(disturb(path, kind, pieces=2, seconds=0.0))
        while not disturbance.done():
            with contextlib.suppress(OSError):
                assert await asked(path) in (b"router", b"")
        await disturbance
        assert await asked(path) == b"router"
        assert [one.name for one in tmp_path.iterdir()] == [path.name]


async def test_a_router_that_is_started_while_the_network_is_away_keeps_its_socket(tmp_path):
    path = tmp_path / "router-0.sock"
    async with await asyncio.start_unix_server(saying(b"old"), path):
        disturbance = asyncio.create_task(disturb(path, CUT, pieces=0, seconds=0.0, patience=0.2))
        between = tmp_path / "between-router-0.sock"
        # A path tells of no event.
        while not (between.exists() and path.exists() and path.samefile(between)):  # noqa: ASYNC110
            await asyncio.sleep(0)
        path.unlink()
        async with await asyncio.start_unix_server(saying(b"new"), path):
            await disturbance
            assert await asked(path) == b"new"


def answered_row(found):
    """Returns a row of an answer that a client has whole, of a chat that was no stream."""
    wanted = {answer.request_id for answer in found.answers if answer.answered and answer.call.kind == "chat"}
    return next(row for row in found.books.rows if row["request_id"] in wanted and int(row["charge_pico"]))


def test_a_lost_row_is_noticed(found):
    rows = [row for row in found.books.rows if row is not answered_row(found)]
    with pytest.raises(AssertionError):
        check_round(replace(found, books=replace(found.books, rows=rows)))


def test_a_request_that_is_charged_twice_is_noticed(found):
    twice = {**answered_row(found), "event_id": "another"}
    books = replace(found.books, rows=[*found.books.rows, twice], new_rows=found.books.new_rows + 1)
    charge = int(twice["charge_pico"])
    total = {**books.usage["total"], "charge_pico": str(int(books.usage["total"]["charge_pico"]) + charge)}
    books = replace(books, spent_pico=books.spent_pico + charge, usage={**books.usage, "total": total})
    with pytest.raises(AssertionError):
        check_round(replace(found, books=books))


def test_an_answer_that_is_none_is_noticed(found):
    """Its request is charged and every book adds up, but the caller has half of it, or what no caller can read."""
    # The last accident takes edge with it.
    until = found.moments[-1].began
    place = next(
        place for place, one in enumerate(found.answers) if one.answered and one.call.stream and one.ended < until
    )
    one = found.answers[place]
    for broken in (replace(one, text=one.text[:-30]), replace(one, status=500, text=b"Internal Server Error")):
        answers = [*found.answers[:place], broken, *found.answers[place + 1 :]]
        with pytest.raises(AssertionError, match="answers that are none"):
            check_round(replace(found, answers=answers))


def test_a_wallet_that_differs_by_one_unit_is_noticed(found):
    balance = {**found.books.balance, "wallet_pico": str(int(found.books.balance["wallet_pico"]) + 1)}
    with pytest.raises(AssertionError):
        check_round(replace(found, books=replace(found.books, balance=balance)))


def test_usage_that_the_provider_did_not_count_is_noticed(found):
    row = answered_row(found)
    entries = [entry for entry in found.books.simulator if entry["model"] != row["upstream_model"]]
    with pytest.raises(AssertionError, match="did not count"):
        check_round(replace(found, books=replace(found.books, simulator=entries)))


def test_answers_of_the_provider_that_nobody_was_charged_for_are_noticed(found):
    extra = [entry for entry in found.books.simulator if entry["outcome"] == "completed"] * 20
    books = replace(found.books, simulator=[*found.books.simulator, *extra])
    with pytest.raises(AssertionError, match="no row says"):
        check_round(replace(found, books=books))


def test_a_seed_decides_the_accidents_and_all_kinds_are_drawn():
    drawn = [draw(source) for source in [Random(5)] for _ in range(200)]
    assert drawn == [draw(source) for source in [Random(5)] for _ in range(200)]
    assert {one.kind for one in drawn} == set(KINDS)
    assert all(str(one) for one in drawn)
    rounds = [with_network([], Random(seed)) for seed in range(200)]
    assert {one.kind for found in rounds for one in found} == set(NETWORK)
    assert {len(found) for found in rounds} == {0, 1}
    several = [draw(source, SEVERAL) for source in [Random(5)] for _ in range(200)]
    assert {one.seconds for one in several if one.kind == SILENCE} == {SILENT_SECONDS}


class OneProcess:
    """A product of one process, which this test started."""

    def __init__(self, child, pid):
        self.child, self._pid = child, pid

    def pids(self, _service):
        return [self._pid]


def test_an_accident_only_happens_to_processes_of_the_product(tmp_path):
    ours = Child(["sh", "-c", "sleep 60 & echo $!; wait"], tmp_path / "ours.log")
    other = Child(["sleep", "60"], tmp_path / "other.log")
    ours.start(ours.tail)
    other.start(lambda: True)
    try:
        grandchild = int(ours.tail())
        kill = Accident("kill", ("router",), 0, 0.0)
        happen(kill, OneProcess(ours, other.pid))
        assert alive(other.pid)
        happen(kill, OneProcess(ours, grandchild))
        wait_until(lambda: not alive(grandchild), "the process to be killed")
    finally:
        ours.stop_signal = other.stop_signal = signal.SIGKILL
        ours.stop()
        other.stop()
