"""The spool keeps what was flushed through a kill, and only that; the publisher empties it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

import pytest

from tollgate_kit.event_log import EventLogUnavailable
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool, SpoolLocked, read_frames

pytestmark = pytest.mark.unit


def test_records_and_acknowledgements_come_back_in_order(tmp_path):
    spool = Spool.open(tmp_path)
    first, second = spool.append(b"one"), spool.append(b"two")
    spool.acknowledge(second)
    spool.flush()
    spool.close()
    found = Spool.open(tmp_path).recovered()
    assert [(one.sequence, one.payload, one.acknowledged) for one in found] == [
        (first, b"one", False),
        (second, b"two", True),
    ]


def test_what_was_discarded_does_not_come_back(tmp_path):
    spool = Spool.open(tmp_path, segment_bytes=200)
    sequences = [spool.append(b"x" * 100) for _ in range(10)]
    for _ in sequences:
        spool.flush()
    spool.discard(sequences)
    spool.close()
    assert Spool.open(tmp_path).recovered() == []


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_tail_ends_the_segment_and_nothing_before_it_is_lost(tmp_path, cut):
    spool = Spool.open(tmp_path)
    spool.append(b"whole")
    spool.append(b"torn")
    spool.flush()
    spool.close()
    path = next(tmp_path.glob("*.seg"))
    path.write_bytes(path.read_bytes()[:-cut])
    assert [one.payload for one in Spool.open(tmp_path).recovered()] == [b"whole"]


def test_a_flipped_bit_is_not_taken_for_a_record(tmp_path):
    spool = Spool.open(tmp_path)
    spool.append(b"payload")
    spool.flush()
    spool.close()
    path = next(tmp_path.glob("*.seg"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert Spool.open(tmp_path).recovered() == []


def test_no_flipped_bit_of_a_frame_makes_another_record_or_acknowledgement_of_it(tmp_path):
    spool = Spool.open(tmp_path)
    first, second = spool.append(b"one"), spool.append(b"two")
    spool.acknowledge(second)
    spool.flush()
    spool.close()
    path = next(tmp_path.glob("*.seg"))
    whole = path.read_bytes()
    for bit in range(len(whole) * 8):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        found = {(kind, sequence): payload for kind, sequence, payload in read_frames(bytes(data), path.name)}
        assert found.items() < {(b"E", first): b"one", (b"E", second): b"two", (b"A", second): b""}.items(), bit


def test_a_file_that_is_no_segment_is_left_alone(tmp_path):
    stray = tmp_path / "12 copy.seg"
    stray.write_bytes(b"x")
    spool = Spool.open(tmp_path)
    spool.append(b"kept")
    spool.flush()
    spool.close()
    assert [one.payload for one in Spool.open(tmp_path).recovered()] == [b"kept"]
    assert stray.read_bytes() == b"x"


def test_an_acknowledgement_outlives_the_segment_it_would_share_with_discarded_records(tmp_path):
    spool = Spool.open(tmp_path, segment_bytes=300)
    old = spool.append(b"old" * 100)
    spool.flush()
    young = [spool.append(b"young"), spool.append(b"young")]
    spool.acknowledge(old)
    spool.flush()
    spool.append(b"x" * 400)
    spool.flush()
    spool.discard(young)
    spool.close()
    first = Spool.open(tmp_path).recovered()[0]
    assert (first.sequence, first.acknowledged) == (old, True)


def test_nothing_is_appended_behind_a_torn_tail(tmp_path):
    for number in range(3):
        spool = Spool.open(tmp_path)
        spool.append(b"whole %d" % number)
        spool.append(b"torn")
        spool.flush()
        spool.close()
        newest = max(tmp_path.glob("*.seg"))
        newest.write_bytes(newest.read_bytes()[:-2])
    found = Spool.open(tmp_path).recovered()
    assert [one.payload for one in found] == [b"whole 0", b"whole 1", b"whole 2"]
    assert len({one.sequence for one in found}) == 3


def test_a_long_life_leaves_few_segments(tmp_path):
    spool = Spool.open(tmp_path, segment_bytes=1000)
    for _ in range(200):
        sequence = spool.append(b"x" * 100)
        spool.flush()
        spool.acknowledge(sequence)
        spool.flush()
        spool.discard([sequence])
    assert len(list(tmp_path.glob("*.seg"))) <= 2
    assert spool.records == 0
    assert spool.bytes < 2500
    spool.close()
    assert list(tmp_path.glob("*.seg")) == []


@pytest.mark.parametrize("late", [False, True])
def test_a_small_spool_that_was_full_has_room_again(tmp_path, late):
    spool = Spool.open(tmp_path, max_bytes=200_000)
    sequences = []
    while spool.has_room():
        sequences.append(spool.append(b"x" * 1000))
        spool.flush()
    if late:
        # What is left to write is written after the last of it has gone.
        spool.acknowledge(sequences[-1])
    spool.discard(sequences)
    spool.flush()
    assert spool.has_room()
    assert spool.bytes < 25_000


def test_a_full_disk_keeps_records_in_memory_and_takes_no_new_work(tmp_path, monkeypatch):
    spool = Spool.open(tmp_path)
    spool.append(b"one")
    whole = os.write

    def full(_fd, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    spool.flush()
    assert not spool.has_room()
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:7]))
    spool.flush()
    monkeypatch.setattr(os, "write", whole)
    spool.append(b"two")
    spool.flush()
    assert spool.has_room()
    spool.close()
    assert [one.payload for one in Spool.open(tmp_path).recovered()] == [b"one", b"two"]


def test_records_wait_for_the_disk_once_a_write_where_it_is_asked(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    lax = Spool.open(tmp_path / "lax")
    lax.append(b"one")
    lax.flush()
    assert synced == []
    spool = Spool.open(tmp_path / "strict", fsync=True)
    spool.append(b"one")
    spool.append(b"two")
    spool.flush()
    spool.flush()
    assert synced == [spool.bytes]


def test_what_a_disk_did_not_confirm_is_written_again_elsewhere(tmp_path, monkeypatch):
    spool = Spool.open(tmp_path, fsync=True)
    spool.append(b"sure")
    spool.flush()
    whole = os.fdatasync

    def fails(_fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    first = next(iter(tmp_path.glob("*.seg")))
    held = first.stat().st_size
    spool.append(b"one")
    spool.flush()
    assert not spool.has_room()
    monkeypatch.setattr(os, "fdatasync", whole)
    spool.flush()
    assert spool.has_room()
    spool.close()
    # A machine that lost power may not have what was not confirmed.
    os.truncate(first, held)
    assert [one.payload for one in Spool.open(tmp_path).recovered()] == [b"sure", b"one"]


@pytest.fixture
def no_more_files(monkeypatch):
    """While it is set, no segment can be opened: the process has no descriptor left."""
    lacking, whole = [], os.open

    def opening(path, *arguments, **options):
        if lacking and str(path).endswith(".seg"):
            raise OSError(24, "Too many open files")
        return whole(path, *arguments, **options)

    monkeypatch.setattr(os, "open", opening)
    return lacking


def test_a_spool_that_cannot_begin_its_next_segment_goes_on_in_the_old_one(tmp_path, no_more_files):
    spool = Spool.open(tmp_path, segment_bytes=200)
    no_more_files.append(True)
    spool.append(b"x" * 300)
    spool.flush()
    assert not spool.has_room()
    # A descriptor that comes free is anybody's: a socket that is accepted gets the lowest number.
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    spool.append(b"late")
    spool.flush()
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    assert not spool.has_room()
    assert len(list(tmp_path.glob("*.seg"))) == 1
    no_more_files.clear()
    spool.flush()
    assert spool.has_room()
    spool.append(b"later")
    spool.flush()
    spool.close()
    assert ours.send(b"still ours") == 10
    for one in (ours, theirs):
        one.close()
    assert [one.payload for one in Spool.open(tmp_path).recovered()] == [b"x" * 300, b"late", b"later"]


def test_a_spool_whose_records_have_left_and_that_cannot_begin_anew_can_once_files_open(tmp_path, no_more_files):
    spool = Spool.open(tmp_path, max_bytes=200_000)
    sequences = []
    while spool.has_room():
        sequences.append(spool.append(b"x" * 1000))
        spool.flush()
    no_more_files.append(True)
    spool.discard(sequences)
    spool.flush()
    assert not spool.has_room()
    no_more_files.clear()
    spool.flush()
    assert spool.has_room()
    assert spool.bytes < 25_000


def test_what_a_disk_did_not_confirm_waits_in_memory_while_no_file_can_be_opened(tmp_path, monkeypatch, no_more_files):
    spool = Spool.open(tmp_path, fsync=True)
    spool.append(b"sure")
    spool.flush()
    first = next(iter(tmp_path.glob("*.seg")))
    held = first.stat().st_size
    whole = os.fdatasync

    def fails(_fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    no_more_files.append(True)
    spool.append(b"one")
    spool.flush()
    monkeypatch.setattr(os, "fdatasync", whole)
    written = first.stat().st_size
    spool.append(b"two")
    spool.flush()
    # A disk that lost pages of a file says of the next ones that it has them: nothing is written behind those.
    assert (first.stat().st_size, spool.has_room()) == (written, False)
    no_more_files.clear()
    spool.flush()
    assert spool.has_room()
    spool.close()
    os.truncate(first, held)
    assert [one.payload for one in Spool.open(tmp_path).recovered()] == [b"sure", b"one", b"two"]


def test_what_waits_to_be_written_keeps_its_segment_when_others_leave(tmp_path, no_more_files):
    spool = Spool.open(tmp_path, segment_bytes=200)
    no_more_files.append(True)
    first = spool.append(b"x" * 300)
    spool.flush()
    spool.append(b"of a request under way")
    no_more_files.clear()
    spool.discard([first])
    spool.flush()
    spool.close()
    assert [one.payload for one in Spool.open(tmp_path).recovered()][-1:] == [b"of a request under way"]


@pytest.mark.parametrize("fsync", [False, True])
def test_the_rest_of_a_frame_is_written_behind_its_beginning(tmp_path, monkeypatch, fsync):
    """Or whole to another file, where it must be sure that a disk has it."""
    spool = Spool.open(tmp_path, segment_bytes=200, fsync=fsync)
    first = spool.append(b"x" * 100)
    spool.flush()
    whole = os.write
    spool.append(b"y" * 150)
    spool.append(b"z" * 100)
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda fd, data: whole(fd, data[:120]))
        spool.flush()
    assert not spool.has_room()
    spool.discard([first])
    spool.flush()
    assert spool.has_room()
    spool.append(b"w" * 20)
    spool.flush()
    spool.close()
    assert [one.payload[:1] for one in Spool.open(tmp_path).recovered()][-3:] == [b"y", b"z", b"w"]


def test_a_disk_that_is_full_and_then_does_not_confirm_gets_all_again(tmp_path, monkeypatch):
    spool = Spool.open(tmp_path, fsync=True)
    first = next(iter(tmp_path.glob("*.seg")))
    write, confirm = os.write, os.fdatasync

    def fails(_fd):
        raise OSError(5, "Input/output error")

    spool.append(b"y" * 100)
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda fd, data: write(fd, data[:50]))
        spool.flush()
    monkeypatch.setattr(os, "fdatasync", fails)
    spool.flush()
    monkeypatch.setattr(os, "fdatasync", confirm)
    spool.flush()
    assert spool.has_room()
    spool.close()
    # What of it was never confirmed may be gone with the power.
    os.truncate(first, 0)
    assert [one.payload for one in Spool.open(tmp_path).recovered()] == [b"y" * 100]


def test_a_segment_that_cannot_be_removed_stops_nothing(tmp_path, monkeypatch):
    spool = Spool.open(tmp_path, segment_bytes=200)
    whole = type(tmp_path).unlink

    def refuses(path, **options):
        if path.suffix == ".seg":
            raise OSError(30, "Read-only file system")
        whole(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(type(tmp_path), "unlink", refuses)
        sequences = []
        for _ in range(3):
            sequences.append(spool.append(b"x" * 300))
            spool.flush()
        spool.discard(sequences)
    spool.append(b"later")
    spool.flush()
    assert spool.has_room()
    spool.close()
    # What was left is published once more, and told apart by its id.
    assert [one.payload for one in Spool.open(tmp_path).recovered()][-1] == b"later"


def test_a_directory_has_one_owner(tmp_path):
    spool = Spool.open(tmp_path)
    with pytest.raises(SpoolLocked):
        Spool.open(tmp_path)
    spool.close()
    Spool.open(tmp_path).close()


def test_a_full_spool_takes_no_new_work(tmp_path):
    spool = Spool.open(tmp_path, max_bytes=100_000)
    assert spool.has_room()
    sequence = spool.append(b"x" * 60_000)
    assert not spool.has_room()
    spool.flush()
    spool.discard([sequence])
    spool.append(b"")
    spool.flush()
    assert spool.records == 1


def test_a_killed_process_leaves_what_it_flushed(tmp_path):
    code = (
        "import sys,pathlib,signal;from tollgate_kit.spool import Spool;"
        "s=Spool.open(pathlib.Path(sys.argv[1]));s.append(b'kept');s.flush();s.append(b'lost');"
        "print('ready',flush=True);signal.pause()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [one.payload for one in Spool.open(tmp_path).recovered()] == [b"kept"]


class FlakyProducer:
    def __init__(self, failures):
        self.failures = failures
        self.sent = []

    async def send(self, topic, records):
        if self.failures:
            self.failures -= 1
            raise EventLogUnavailable("away")
        self.sent += [(topic, record.value) for record in records]

    async def close(self):
        pass


async def test_the_publisher_sends_until_the_log_has_all_and_then_empties_the_spool(tmp_path):
    spool, producer = Spool.open(tmp_path), FlakyProducer(failures=1)
    publisher = Publisher(spool, producer, "topic")
    for number in range(3):
        publisher.queue(spool.append(b"%d" % number), b"k", b"%d" % number)
    spool.flush()
    stopping = asyncio.Event()
    stopping.set()
    await publisher.run(stopping)
    assert producer.sent == [("topic", b"0"), ("topic", b"1"), ("topic", b"2")]
    assert (publisher.depth(), spool.records) == (0, 0)
