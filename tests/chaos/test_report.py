"""The report of chaos runs says what its file says, and the broken builds are still broken."""

import json
from random import Random

import pytest

from tests.chaos.accidents import KINDS
from tests.chaos.builds import BUILDS, make
from tests.chaos.report import BEGIN, END, PAGE, RUNS, keep, put_in, render
from tests.chaos.rounds import draw_accidents

pytestmark = pytest.mark.unit

RUN = {
    "seed": 7,
    "first": 1,
    "arguments": "--workers 1",
    "build": "sound",
    "rounds": 2,
    "kills": {"edge": 3, "billing": 4},
    "accidents": {"kill": 7},
    "requests": 10,
    "answered": 9,
    "events": 12,
    "charged_pico": 5,
    "seconds": 120,
    "result": "adds up",
}


def test_the_page_says_what_was_run():
    page = PAGE.read_text(encoding="utf-8")
    runs = json.loads(RUNS.read_text(encoding="utf-8"))
    assert put_in(page, render(runs)) == page, "run `python -m tests.chaos.report`"


def test_runs_are_added_up_and_a_failure_is_not_hidden(tmp_path):
    file = tmp_path / "runs.json"
    lost = {"build": "commit-first", "result": "does not add up", "found": "3 of | 4", "commit": "abc", "ended": "now"}
    for one in (RUN, RUN, RUN | lost):
        keep(one, file)
    text = render(json.loads(file.read_text(encoding="utf-8")))
    assert "2 runs of 4 rounds in 4 minutes; every one adds up" in text
    assert "14 processes were killed" in text
    assert "| embedded | commit-first | abc | now | 1 | 7 | 2 | 7 | 10 | 12 | 5 | does not add up: 3 of / 4 |" in text
    keep(RUN | {"profile": "cluster", "kills": {"kafka": 2}}, file)
    text = render(json.loads(file.read_text(encoding="utf-8")))
    assert "16 processes were killed" in text
    assert "kafka 2" in text
    assert "| cluster | sound |" in text
    keep(RUN | {"result": "does not add up"}, file)
    assert "1 do not add up" in render(json.loads(file.read_text(encoding="utf-8")))
    assert put_in(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb\n"


@pytest.mark.parametrize("name", BUILDS)
def test_a_broken_build_is_the_source_with_its_step_taken_out(tmp_path, name):
    made = make(name, tmp_path)
    for file, found, instead in BUILDS[name]:
        text = (made / file).read_text(encoding="utf-8")
        assert instead in text
        assert found not in text
        compile(text, file, "exec")


def test_only_the_kinds_that_were_asked_for_are_drawn():
    drawn = [one.kind for number in range(50) for one in draw_accidents(Random(number), 9, ["kill", "kill all"])]
    assert set(drawn) == {"kill", "kill all"} < set(KINDS)
