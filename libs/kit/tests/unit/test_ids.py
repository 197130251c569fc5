"""Ids of events are computed, so that whoever computes one again gets the same."""

import uuid

import pytest

from tollgate_kit.ids import event_id

pytestmark = pytest.mark.unit

NAMESPACE = uuid.UUID("6f1d7b0c-5b1e-4c0f-9a3e-e0a8a6c2d951")


@pytest.mark.parametrize("parts", [("req_1", 1, 1, 1), ("req_1", 1, 1, 2), ("req_ü", 255, 30, 1), ("", 0, 0, 0)])
def test_an_event_id_is_a_uuid5_of_its_parts(parts):
    assert event_id(*parts) == uuid.uuid5(NAMESPACE, "/".join(map(str, parts))).bytes
    assert event_id(*parts) == event_id(*parts)
