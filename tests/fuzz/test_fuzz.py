"""The fuzzer finds what is planted and says how to see it again; targets stand their kept cases and a few new ones."""

import re
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import corpus, guided
from tests.fuzz.__main__ import main
from tests.fuzz.cases import EVERYWHERE, draw_edit, dump, edited, load, pieces
from tests.fuzz.counted_loop import Hang, run
from tests.fuzz.named import TARGETS
from tests.fuzz.planted import Deep, Planted, Standing
from tests.fuzz.runner import failure, opened, search
from tests.fuzz.shrink import shrink
from tests.servers.process import unavailable

pytestmark = pytest.mark.integration

# Enough that every target draws cases of each kind; `make fuzz` is for more.
FEW = 400
# Of the kept inputs of a quick target; of a slow one as many times fewer, and `make fuzz` goes on from all.
MOST_KEPT = 100


@pytest.mark.parametrize(
    ("target", "path"), [pytest.param(*one, id=f"{one[0]}-{one[1].stem}") for one in corpus.kept()]
)
def test_a_kept_case_does_no_harm_any_more(target, path):
    with opened(TARGETS[target]) as made:
        made.check(corpus.read(path))


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_new_cases_do_no_harm(name):
    with opened(TARGETS[name]) as target:
        finding = search(target, FEW, seed=1)
    assert finding is None, f"{finding.words}\n{dump(finding.case)}"


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_that_reach_far_do_no_harm(name):
    inputs = guided.kept_inputs(name)
    assert inputs
    with opened(TARGETS[name]) as target:
        for one in inputs[: max(10, MOST_KEPT // target.cost)]:
            case = target.draw(guided.ByteSource(one))
            assert failure(target, case) is None, dump(case)


def test_every_target_has_kept_cases():
    assert {name for name, _ in corpus.kept()} == set(TARGETS)


def test_what_is_planted_is_found_made_small_and_printed_with_its_seed(capsys):
    assert main(["--examples", "20000", "--seed", "7"], {"planted": Planted}) == 1
    printed = capsys.readouterr().out
    assert "make fuzz ARGS='--examples 20000 --seed 7 --target planted'" in printed
    assert "KeyError" in printed
    smallest = load(
        "".join(re.findall(r"^    ([{}\[\] ].*)$", printed.partition("The smallest case")[2], re.MULTILINE))
    )
    assert smallest == {"data": b"(x", "cuts": [], "more": []}
    # The seed repeats the run, and another one has other cases.
    assert main(["--examples", "20000", "--seed", "7"], {"planted": Planted}) == 1
    assert capsys.readouterr().out == printed
    assert Planted().draw(Random("7/1")) != Planted().draw(Random("8/1"))


def test_a_run_that_finds_nothing_ends_well(capsys):
    assert main(["--examples", "5"], {"standing": Standing}) == 0
    assert "nothing broke" in capsys.readouterr().out


def test_the_same_bytes_draw_the_same_case_and_near_ones_a_near_one():
    def drawn(data):
        return Planted().draw(guided.ByteSource(data))

    data = Random(5).randbytes(200)
    assert drawn(data) == drawn(data)
    changed = bytes([*data[:60], data[60] ^ 1, *data[61:]])
    assert drawn(data) != drawn(data[1:])
    assert drawn(data)["data"][:20] == drawn(changed)["data"][:20]
    # Beyond the bytes chance goes on, so that no draw waits for ever for a coin to fall.
    assert len({guided.ByteSource(b"").random() for _ in range(5)}) == 1
    source = guided.ByteSource(b"")
    assert len({source.random() for _ in range(50)}) > 10


def test_what_only_a_fuzzer_that_sees_the_code_finds(tmp_path):
    packages, problem = guided.packages()
    if problem:
        unavailable("atheris", problem)
    # By chance, one in 2^24 cases.
    with opened(Deep) as target:
        assert search(target, 10_000, seed=1) is None
    run = guided.fuzz(Deep, packages, tmp_path, runs=1_000_000, seed=1)
    assert run.broke
    assert "found by what it reaches" in run.output
    assert 0 < run.inputs < 1_000_000
    assert len(guided.smallest(Deep, packages, tmp_path)) >= 2


def test_kept_inputs_survive_being_written_down():
    inputs = guided.kept_inputs("usage")
    assert "".join(guided.lines_of(inputs)) == (guided.KEPT / "usage.txt").read_text()


def test_a_search_is_bounded_by_count():
    counted = []

    class Counting(Standing):
        cost = 4

        def check(self, case):
            counted.append(case)

    assert search(Counting(), 100, 1) is None
    assert len(counted) == 25


def test_making_small_keeps_to_the_same_fault_and_its_bound():
    tried = []

    def fails(case):
        tried.append(case)
        return b"z" in case["data"]

    assert shrink({"data": b"abc" * 100 + b"z", "count": 8, "on": True}, fails) == {
        "data": b"z",
        "count": 0,
        "on": False,
    }
    tried.clear()
    shrink({"data": b"abc" * 100 + b"z"}, fails, attempts=3)
    assert len(tried) == 3
    both = {"data": b"\x01\x02"}
    assert failure(Planted(), both) is None


def test_a_case_survives_being_written_down(tmp_path):
    case = {"data": bytes(range(256)), "list": [1, [b"\xff", "text", None, True]], "inner": {"bytes": 1, "other": b"("}}
    path = Path(tmp_path) / "case.json"
    path.write_text(dump(case), encoding="utf-8")
    assert corpus.read(path) == case


def test_pieces_are_the_data_whatever_the_cuts():
    data = bytes(range(50))
    for cuts in ([], [0], [50], [7, 7, 51, 300], [EVERYWHERE]):
        assert b"".join(pieces(data, cuts)) == data
    assert pieces(data, [7, 20]) == [data[:7], data[7:20], data[20:]]
    assert len(pieces(data, [EVERYWHERE])) == 50


def test_an_edit_is_the_same_wherever_it_is_applied():
    source = Random(3)
    for _ in range(500):
        edit = draw_edit(source, 30, [b"\r\n"])
        assert edited(b"x" * 20, edit) == edited(b"x" * 20, load(dump({"edit": edit}))["edit"])
    assert edited(b"abcdef", ["leave out", 2, 2, b""]) == b"abef"
    assert edited(b"abcdef", ["move", 9, 2, b""]) == b"abefcd"


def test_a_loop_that_comes_to_no_end_is_a_hang_and_one_that_throws_is_a_fault():
    import asyncio

    async def spins():
        while True:  # noqa: ASYNC110 - that is the fault.
            await asyncio.sleep(0)

    async def waits():
        await asyncio.Event().wait()

    async def throws():
        asyncio.get_running_loop().call_soon(int, "x")
        await asyncio.sleep(0)

    async def leaves():
        asyncio.create_task(asyncio.sleep(10), name="left")  # noqa: RUF006 - that is the fault.

    async def sleeps():
        await asyncio.sleep(3600)

    run(sleeps)
    for main_, fault in ((spins, Hang), (waits, Hang), (throws, AssertionError), (leaves, AssertionError)):
        with pytest.raises(fault):
            run(main_)
