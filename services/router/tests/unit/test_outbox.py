"""What gathers between two writes of an Exchange stream, and how it is cut when it is too much for one message."""

import pytest

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.exchange.outbox import MAX_BATCH_BYTES, MAX_BATCH_FRAMES, MAX_END_BYTES, Outbox

pytestmark = pytest.mark.unit


def taken(outbox: Outbox) -> list[wire.RouterBatch]:
    return [wire.RouterBatch.FromString(message) for message in outbox.take()]


def new_outbox(told: list[bool] | None = None) -> Outbox:
    return Outbox((told if told is not None else []).append)


def test_an_empty_outbox_writes_nothing():
    told: list[bool] = []
    outbox = new_outbox(told)
    assert outbox.take() == []
    assert not outbox.urgent
    assert told == []


def test_who_paces_writes_is_told_of_the_first_frame_and_of_the_first_urgent_one():
    told: list[bool] = []
    outbox = new_outbox(told)
    outbox.data(1, b"a")
    outbox.data(2, b"b")
    assert told == [False]
    outbox.end(id=1)
    outbox.head(id=2)
    outbox.data(2, b"c")
    assert told == [False, True]
    outbox.take()
    outbox.end(id=2)
    assert told == [False, True, True]


def test_data_of_one_request_is_joined_and_waits_for_company():
    outbox = new_outbox()
    outbox.data(1, b"a")
    outbox.data(2, b"x")
    outbox.data(1, b"b")
    assert outbox.waiting
    assert not outbox.urgent
    (batch,) = taken(outbox)
    assert [(frame.id, frame.data) for frame in batch.data] == [(1, b"ab"), (2, b"x")]
    assert outbox.take() == []


def test_every_kind_of_frame_leaves_in_one_batch():
    outbox = new_outbox()
    header = wire.Header(name=b"content-type", value=b"application/json")
    outbox.head(id=1, status=200, headers=(header,), attempt=2)
    outbox.data(1, b"body")
    end = outbox.end(id=1, outcome=wire.OUTCOME_OK, charge_pico=7, usage=wire.Usage(input_tokens=3))
    end.error.message = "added after the frame was handed over"
    outbox.credit(9, 70_000)
    outbox.go_away("old")
    assert outbox.urgent
    (batch,) = taken(outbox)
    assert batch == wire.RouterBatch(
        head=[wire.Head(id=1, status=200, headers=[header], attempt=2)],
        data=[wire.Data(id=1, data=b"body")],
        end=[
            wire.End(
                id=1,
                outcome=wire.OUTCOME_OK,
                charge_pico=7,
                usage=wire.Usage(input_tokens=3),
                error={"message": "added after the frame was handed over"},
            )
        ],
        credit=[wire.Credit(id=9, bytes=70_000)],
        go_away=wire.GoAway(reason="old"),
    )
    assert not outbox.urgent


def test_dropped_data_does_not_leave():
    outbox = new_outbox()
    outbox.data(1, b"gone")
    outbox.data(2, b"stays")
    outbox.drop(1)
    (batch,) = taken(outbox)
    assert [frame.data for frame in batch.data] == [b"stays"]


@pytest.mark.parametrize("size", [MAX_BATCH_BYTES, MAX_BATCH_BYTES + 1, 3 * MAX_BATCH_BYTES + 5])
def test_much_data_is_cut_and_ends_come_last(size):
    outbox = new_outbox()
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    outbox.head(id=1, status=200)
    outbox.data(1, data)
    outbox.end(id=1, outcome=wire.OUTCOME_OK)
    batches = taken(outbox)
    assert b"".join(frame.data for batch in batches for frame in batch.data) == data
    assert all(sum(len(frame.data) for frame in batch.data) <= MAX_BATCH_BYTES for batch in batches)
    assert [frame.id for frame in batches[0].head] == [1]
    last_with_data = max(number for number, batch in enumerate(batches) if batch.data)
    assert [number >= last_with_data for number, batch in enumerate(batches) if batch.end] == [True]


def test_many_frames_are_cut():
    outbox = new_outbox()
    count = MAX_BATCH_FRAMES + 3
    for frame_id in range(1, count + 1):
        outbox.head(id=frame_id, status=200)
        outbox.data(frame_id, b"x")
        outbox.end(id=frame_id)
    batches = taken(outbox)
    wanted = list(range(1, count + 1))
    for kind in ("head", "data", "end"):
        assert [frame.id for batch in batches for frame in getattr(batch, kind)] == wanted
    assert all(len(batch.head) <= MAX_BATCH_FRAMES for batch in batches)
    assert all(len(batch.data) + len(batch.end) <= MAX_BATCH_FRAMES for batch in batches)


def test_ends_that_carry_much_data_are_cut():
    outbox = new_outbox()
    body = b"x" * MAX_END_BYTES
    outbox.data(1, body)
    count = 3 * MAX_BATCH_BYTES // MAX_END_BYTES + 1
    for frame_id in range(1, count + 1):
        outbox.end(len(body), id=frame_id, data=body)
    outbox.credit(9, 70_000)
    batches = taken(outbox)
    assert [frame.id for batch in batches for frame in batch.end] == list(range(1, count + 1))
    assert [frame.id for batch in batches for frame in batch.data] == [1]
    assert [frame.id for batch in batches for frame in batch.credit] == [9]
    sizes = [sum(len(frame.data) for frame in (*batch.data, *batch.end)) for batch in batches]
    assert max(sizes) <= MAX_BATCH_BYTES
