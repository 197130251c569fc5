"""One round of random faults adds up, and an answer that is not as it should be is noticed."""

import random
from collections import Counter
from dataclasses import replace

import httpx
import pytest

from tests.chaos.faults import PLACES, WORDS, Ask, Soak, Told, draw, outcome_of

pytestmark = pytest.mark.integration

MOST_ROUNDS = 5


def test_a_round_of_random_faults_adds_up(tmp_path):
    soak = Soak(tmp_path)
    try:
        soak.start()
        told, found = list[Told](), Counter[str]()
        # How many are answered depends on when breakers open, and on what a busy machine does within two seconds.
        for number in range(1, MOST_ROUNDS + 1):
            told = soak.send(draw(random.Random(number))[:120])
            found += soak.check(told)
            if found["answered"] >= 20 and len(found) >= 4:
                break
        assert found["answered"] >= 20
        assert len(found) >= 4
        # What was told otherwise than it was booked is noticed.
        paid = next(one for one in told if one.whole and one.reply.status_code == 200 and not one.ask.stream)
        error = httpx.Response(502, json={"error": {"code": "upstream_cut"}})
        with pytest.raises(AssertionError):
            soak.check([replace(paid, reply=error)])
    finally:
        soak.stop()


def test_a_seed_decides_the_calls_and_all_faults_are_drawn():
    drawn = [one for number in range(20) for one in draw(random.Random(f"7/{number}"))]
    assert drawn == [one for number in range(20) for one in draw(random.Random(f"7/{number}"))]
    assert {one.word for one in drawn} == set(WORDS)
    assert {one.model for one in drawn} >= {f"beside-{place}" for place in PLACES}
    assert {one.leaves for one in drawn} == {one.stream for one in drawn} == {True, False}


def test_a_stream_without_its_end_is_noticed():
    ask = Ask("m", "x", stream=True, leaves=False)
    cut = httpx.Response(200, content=b'data: {"choices": []}\n\n')
    with pytest.raises(AssertionError):
        outcome_of(Told(ask, "req_1", cut, whole=True))
