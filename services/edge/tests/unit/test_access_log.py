"""Which requests become lines, how many of them, and what happens when nobody can take them."""

import json
import os
import random

import pytest

from tollgate_edge.inference.access_log import AccessLine, AccessLog, StandardOutput

pytestmark = pytest.mark.unit


def new_log(mode="on", sample_ratio=0.0, lines_per_second=1000):
    """Returns a log and what it has written."""
    written = []
    made = AccessLog(
        mode,
        sample_ratio=sample_ratio,
        lines_per_second=lines_per_second,
        random_source=random.Random(1),
        write=written.append,
    )
    return made, written


def parsed(written):
    return [json.loads(line) for line in b"".join(written).splitlines()]


@pytest.mark.parametrize(
    ("mode", "plain", "kept"), [("off", False, False), ("sampled", False, True), ("on", True, True)]
)
def test_what_becomes_a_line(mode, plain, kept):
    log, _ = new_log(mode)
    assert log.wants(failed=False, kept=False) is plain
    assert log.wants(failed=False, kept=True) is kept
    assert log.wants(failed=True, kept=False) is True


def test_a_share_of_the_others_is_a_share():
    log, _ = new_log("sampled", 0.1)
    found = sum(log.wants(failed=False, kept=False) for _ in range(10_000))
    assert 900 < found < 1100
    assert not any(new_log("off", 0.9)[0].wants(failed=False, kept=False) for _ in range(100))


async def test_a_flood_is_cut_and_the_next_line_says_so():
    log, written = new_log(lines_per_second=3)
    for number in range(10):
        log.add(AccessLine(ts="", request_id=str(number)), 5.0 + number / 100)
    log.add(AccessLine(ts="", request_id="later"), 6.0)
    log.flush()
    assert [(line["request_id"], line["dropped"]) for line in parsed(written)] == [
        ("0", 0), ("1", 0), ("2", 0), ("later", 7),
    ]  # fmt: skip
    assert (log.written, log.dropped) == (4, 7)


async def test_much_does_not_wait():
    log, written = new_log()
    while not written:
        log.add(AccessLine(ts="", request_id="r" * 1000), 1.0)
    assert len(written[0]) >= 64 * 1024
    assert written[0].endswith(b"}\n")
    log.flush()
    assert len(written) == 1


async def test_whatever_a_caller_writes_is_one_line():
    log, written = new_log()
    log.add(AccessLine(ts="", request_id="r", model='a\nb"\u2028\x00'), 1.0)
    log.flush()
    assert b"".join(written).count(b"\n") == 1
    assert parsed(written)[0]["model"] == 'a\nb"\u2028\x00'


def test_nobody_who_reads_is_said_once_and_harms_nobody(caplog):
    reader, writer = os.pipe()
    output = StandardOutput(writer)
    output(b"x" * 10 + b"\n")
    assert os.read(reader, 100) == b"x" * 10 + b"\n"
    os.close(reader)
    output(b"lost\n")
    output(b"lost\n")
    os.close(writer)
    assert [record.message for record in caplog.records] == ["the access log cannot be written"]
