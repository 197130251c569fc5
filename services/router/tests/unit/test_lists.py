"""Candidate lists are made when asked for or before, in slices, and names that callers invent leave nothing behind."""

import pytest
from services.router.tests.fakes.versions import AT_US, CATALOGUE, Environment, channel, route

from tollgate_resources import Declared, compile_version, parse_version
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.snapshot import compile_snapshot

pytestmark = pytest.mark.unit


def unmade():
    channels = [channel("a", "able", "small"), channel("b", "able", groups=["research"])]
    declared = Declared.model_validate({"channels": channels, "routes": [route("able", ["a", "b"])]})
    secrets = Environment({"KEY_a_0": "x", "KEY_b_0": "y"})
    return compile_snapshot(parse_version(compile_version(declared, CATALOGUE)), "d", secrets, Health(), AT_US)


def test_a_list_is_made_once_and_is_the_same_however_it_was_made():
    found = unmade()
    assert len(found.candidates) == 0
    first = found.route("default", "able")
    assert found.route("default", "able") is first
    while found.make_some(lambda: True):
        assert len(found.candidates) > 0
    assert found.route("default", "able") is first
    assert set(found.candidates) == {("default", "able"), ("research", "able"), ("default", "small")}
    assert not found.make_some(lambda: True)


def test_a_slice_makes_one_model_at_least_and_stops_when_it_is_enough():
    found, made = unmade(), []
    while found.make_some(lambda: True):
        made.append(len(found.candidates))
    assert made == sorted(set(made))
    assert len(made) == 2


def test_names_that_callers_invent_are_not_kept():
    found = unmade()
    for number in range(100):
        assert found.route("default", f"model-{number}") is None
        assert found.route(f"group-{number}", "able") is None
    assert len(found.candidates) == 0
    # A group that exists and is served by nothing is known from then on.
    assert found.route("research", "small") is None
    assert len(found.candidates) == 1
