"""Room for so much in a second."""

import pytest

from tollgate_edge.inference.room import Room

pytestmark = pytest.mark.unit


def test_one_caller_has_a_quarter_and_all_have_the_whole():
    room = Room(8)
    assert [room.take("a", 7.5) for _ in range(3)] == [True, True, False]
    assert [room.take(name, 7.9) for name in "bbccddee"] == [True] * 6 + [False] * 2
    assert not room.take("f", 7.99)
    assert room.take("a", 8.0)


def test_little_room_is_room_for_one_and_none_is_none():
    assert [Room(1).take("a", 1.0), Room(0).take("a", 1.0)] == [True, False]
