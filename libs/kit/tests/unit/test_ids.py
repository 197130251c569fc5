"""Ids sort as they were made; those of events are computed, so that whoever computes one again gets the same."""

import uuid
from unittest import mock

import pytest

from tollgate_kit.ids import RandomIds, event_id

pytestmark = pytest.mark.unit

NAMESPACE = uuid.UUID("6f1d7b0c-5b1e-4c0f-9a3e-e0a8a6c2d951")


@pytest.mark.parametrize("parts", [("req_1", 1, 1, 1), ("req_1", 1, 1, 2), ("req_ü", 255, 30, 1), ("", 0, 0, 0)])
def test_an_event_id_is_a_uuid5_of_its_parts(parts):
    assert event_id(*parts) == uuid.uuid5(NAMESPACE, "/".join(map(str, parts))).bytes
    assert event_id(*parts) == event_id(*parts)


def test_ids_sort_as_they_were_made_within_a_millisecond_too():
    ids, start_ns = RandomIds(), 1_800_000_000_000_000_000
    # Two milliseconds, in steps of the fraction that an id keeps.
    times = [start_ns + step * 1_000_000 // 256 + 1 for step in range(512)]
    with mock.patch("time.time_ns", side_effect=times):
        made = [ids.new("req") for _ in times]
    assert made == sorted(made)
    assert len({len(one) for one in made}) == 1
    assert len({ids.new("req") for _ in range(10_000)}) == 10_000
