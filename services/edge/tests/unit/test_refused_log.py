"""How many refusals become rows, and whose."""

from services.edge.tests.fakes.inference import FakeEventLog

from tollgate.events.v1.refused_pb2 import RequestRefused, RequestsRefused
from tollgate_edge.inference.refused_log import RefusedLog


def add(log, caller, now, **fields):
    """Adds a refusal where there is room for it; returns whether there was."""
    room = log.room(caller, now)
    if room:
        log.add(RequestRefused(request_id="r", **fields))
    return room


def rows(event_log):
    return [row for _, record in event_log.records for row in RequestsRefused.FromString(record.value).requests]


async def test_a_flood_is_counted_and_hides_nobody_else():
    event_log = FakeEventLog()
    log = RefusedLog(event_log, 40)
    assert [add(log, "flood", 7.5) for _ in range(30)] == [True] * 10 + [False] * 20
    assert add(log, "other", 7.9)
    for caller in "abc":
        for _ in range(12):
            add(log, caller, 7.9)
    # 40 in a second, whoever they are of; the next second has room again.
    assert not add(log, "late", 7.99)
    assert add(log, "flood", 8.0)
    await log.flush()
    made = rows(event_log)
    assert len(made) == log.written == 41
    assert made[10].left_out == 20
    assert sum(row.left_out for row in made) == log.dropped == 30 + 1 + 36 + 1 + 1 - 41


async def test_what_waits_is_bounded_while_the_log_is_away():
    event_log = FakeEventLog()
    event_log.away = True
    log = RefusedLog(event_log, 10_000)
    taken = sum(add(log, str(number % 8), number // 9_000) for number in range(18_000))
    await log.flush()
    assert (taken, log.dropped, log.failures, log.written) == (5_000, 13_000, 1, 0)
    event_log.away = False
    await log.flush()
    assert len(rows(event_log)) == log.written == 5_000
    assert max(len(record.value) for _, record in event_log.records) < 1_000_000


async def test_long_texts_are_cut():
    event_log = FakeEventLog()
    log = RefusedLog(event_log, 10)
    assert add(log, "", 1, message="m" * 10_000, model="n" * 10_000)
    await log.flush()
    (row,) = rows(event_log)
    assert (len(row.message), len(row.model)) == (500, 256)
