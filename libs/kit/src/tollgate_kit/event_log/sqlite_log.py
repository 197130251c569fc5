"""The embedded event log: one SQLite file, several producing processes, one consumer per group.

Appending is a transaction with `synchronous=FULL`, so a record that `send` returned for survives a loss of power. The
file carries an epoch made with it; each consumer that starts takes the group's owner number by adding one to it, and
a commit under an older number is refused. A topic has one partition, 0; offsets are shared by all topics of a file.
"""

import asyncio
import fcntl
import functools
import os
import sqlite3
import struct
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from tollgate_kit.clock import Clock
from tollgate_kit.event_log.port import Claim, EventLogUnavailable, Headers, OwnershipLost, Record, Stored

T = TypeVar("T")

_BUSY_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1
_KEEP_US: Final = 7 * 24 * 3600 * 1_000_000
_TRIM_EVERY_SECONDS: Final = 60.0
_TRIM_ROWS: Final = 5_000
_FIELDS: Final = 5
_ROWS_TOGETHER: Final = (64, 8, 1)
_INSERT: Final = "INSERT INTO records (topic, at_us, key, value, headers) VALUES "
_LAST: Final = "SELECT max(position) FROM records"
_LENGTHS: Final = struct.Struct("<HI")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    position INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, at_us INTEGER NOT NULL,
    key BLOB NOT NULL, value BLOB NOT NULL, headers BLOB
);
CREATE TABLE IF NOT EXISTS positions (
    consumers TEXT NOT NULL, topic TEXT NOT NULL, owner INTEGER NOT NULL, position INTEGER NOT NULL,
    metadata TEXT NOT NULL, PRIMARY KEY (consumers, topic)
)
"""


class _File:
    """A connection of its own, used from one thread of its own, opened when first needed and again after a failure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="event-log")
        self._connection: sqlite3.Connection | None = None

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what `work` returns; what it wrote is durable. Raises EventLogUnavailable."""
        step = functools.partial(self._work, work, "BEGIN IMMEDIATE")
        return await asyncio.get_running_loop().run_in_executor(self._thread, step)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what `work` returns; it waits for no writer. Raises EventLogUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, functools.partial(self._work, work, "BEGIN")
        )

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=True)

    def _work(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        try:
            connection = self._connection or self._open()
            connection.execute(begin)
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            self._drop()
            raise EventLogUnavailable(f"{self._path.name}: {error}") from error
        return result

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Switching a new file to WAL fails at once while another process does the same, whatever the busy timeout is.
        with self._path.with_name(self._path.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self._open_alone()

    def _open_alone(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._connection = connection
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY", "cache_size=-2000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (os.urandom(8).hex(),))  # noqa: TID251 - an adapter names its own file.
        connection.execute("COMMIT")
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class SqliteProducer:
    """Appends; any number of processes may."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = _File(path)
        self._clock = clock

    async def send(self, topic: str, records: Sequence[Record]) -> None:
        now = self._clock.now_us()
        values: list[object] = []
        for record in records:
            headers = record.headers
            values += (topic, now, record.key, record.value, _pack(headers) if headers else None)
        await self._file.write(functools.partial(_insert, values=values))

    async def close(self) -> None:
        """Closes the file."""
        await self._file.close()


class SqliteConsumer:
    """The one consumer of its group: starting takes the group over from whoever had it."""

    def __init__(self, path: Path, group: str, topics: Sequence[str], clock: Clock) -> None:
        self._file = _File(path)
        self._group = group
        self._topics = tuple(topics)
        self._clock = clock
        self._owner: dict[str, int] = {}
        self._claims: list[Claim] = []
        self._next: dict[str, int] = {}
        self._trimmed = clock.monotonic()

    async def start(self) -> None:
        for claim in self._claims:
            claim.lost = True
        self._claims = await self._file.write(self._take)
        self._next = {claim.topic: claim.offset for claim in self._claims}

    def claims(self) -> Sequence[Claim]:
        return [claim for claim in self._claims if not claim.lost]

    async def poll(self, limit: int, wait_seconds: float, only: Collection[Claim] = ()) -> list[Stored]:
        """Looks every 0.1 s until there is something or `wait_seconds` are over."""
        ends_at = self._clock.monotonic() + wait_seconds
        while True:
            claims = [claim for claim in self.claims() if not only or claim in only]
            found = [record for claim in claims for record in await self._read(claim, limit)]
            left = ends_at - self._clock.monotonic()
            if found or left <= 0:
                break
            await asyncio.sleep(min(left, _POLL_SECONDS))
        if self._clock.monotonic() - self._trimmed >= _TRIM_EVERY_SECONDS:
            self._trimmed = self._clock.monotonic()
            await self._file.write(self._trim)
        return found

    async def commit(self, claim: Claim, offset: int, metadata: str) -> None:
        if len(metadata.encode()) > 4096:
            raise ValueError("metadata of a commit has up to 4,096 bytes")
        sql = "UPDATE positions SET position = ?, metadata = ? WHERE consumers = ? AND topic = ? AND owner = ?"
        values = (offset, metadata, self._group, claim.topic, self._owner[claim.topic])
        if claim.lost or not await self._file.write(lambda connection: connection.execute(sql, values).rowcount):
            claim.lost = True
            raise OwnershipLost(f"another consumer has taken {claim.topic} over")

    async def ends(self) -> dict[int, int]:
        sql = "SELECT position FROM records WHERE topic = ? ORDER BY position DESC LIMIT 1"
        found = {}
        for claim in self.claims():
            row = await self._file.read(functools.partial(_first, sql=sql, values=(claim.topic,)))
            found[claim.partition] = row[0] + 1 if row else claim.offset
        return found

    async def close(self) -> None:
        await self._file.close()

    def _take(self, connection: sqlite3.Connection) -> list[Claim]:
        epoch = connection.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()[0]
        claims = []
        for topic in self._topics:
            key = (self._group, topic)
            connection.execute("INSERT OR IGNORE INTO positions VALUES (?, ?, 0, 1, '')", key)
            connection.execute("UPDATE positions SET owner = owner + 1 WHERE consumers = ? AND topic = ?", key)
            owner, offset, metadata = connection.execute(
                "SELECT owner, position, metadata FROM positions WHERE consumers = ? AND topic = ?", key
            ).fetchone()
            self._owner[topic] = owner
            claims.append(Claim(topic, 0, epoch, offset, metadata))
        return claims

    async def _read(self, claim: Claim, limit: int) -> list[Stored]:
        sql = (
            "SELECT position, at_us, key, value, headers FROM records"
            " WHERE position >= ? AND topic = ? ORDER BY position LIMIT ?"
        )
        values = (self._next[claim.topic], claim.topic, limit)
        rows, last = await self._file.read(
            lambda connection: (connection.execute(sql, values).fetchall(), connection.execute(_LAST).fetchone()[0])
        )
        # Records of other topics that were looked through are not looked through again, which may be a week of them.
        self._next[claim.topic] = (rows[-1][0] if len(rows) == limit else last or claim.offset - 1) + 1
        return [
            Stored(claim, position, at_us, key, value, _unpack(headers) if headers else ())
            for position, at_us, key, value, headers in rows
        ]

    def _trim(self, connection: sqlite3.Connection) -> None:
        """Forgets what every group has read and is older than a week, some rows at a time; others stay for replay."""
        connection.execute(
            "DELETE FROM records WHERE position IN (SELECT position FROM records WHERE at_us < ?"
            " AND topic IN (SELECT topic FROM positions)"
            " AND position < (SELECT min(position) FROM positions WHERE topic = records.topic)"
            " ORDER BY position LIMIT ?)",
            (self._clock.now_us() - _KEEP_US, _TRIM_ROWS),
        )


def _insert(connection: sqlite3.Connection, values: list[object]) -> None:
    """Inserts rows, `values` being all their fields in a row.

    Each statement gives up the interpreter's lock and asks for it again, which costs more than its row: so most rows
    go many to a statement, in few sizes, so that SQLite need not parse them anew.
    """
    at = 0
    for rows in _ROWS_TOGETHER:
        width = rows * _FIELDS
        sql = _INSERT + ",".join(["(?,?,?,?,?)"] * rows)
        while len(values) - at >= width:
            connection.execute(sql, values[at : at + width])
            at += width


def _pack(headers: Headers) -> bytes:
    parts: list[bytes] = []
    for name, value in headers:
        encoded = name.encode()
        parts += (_LENGTHS.pack(len(encoded), len(value)), encoded, value)
    return b"".join(parts)


def _unpack(packed: bytes | None) -> Headers:
    headers: list[tuple[str, bytes]] = []
    at = 0
    while packed and at < len(packed):
        name_length, value_length = _LENGTHS.unpack_from(packed, at)
        at += _LENGTHS.size
        middle, end = at + name_length, at + name_length + value_length
        headers.append((packed[at:middle].decode(), packed[middle:end]))
        at = end
    return tuple(headers)


def _first(connection: sqlite3.Connection, sql: str, values: tuple[str, ...]) -> tuple[int] | None:
    row: tuple[int] | None = connection.execute(sql, values).fetchone()
    return row
