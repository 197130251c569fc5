"""The event log behind one port: a durable log in one SQLite file, or Apache Kafka.

`sqlite:///PATH` or `kafka://HOST:PORT[,HOST:PORT]` says which. Under `kafka://`, `?partitions=N` is how many a topic
gets that this code has to create, whatever its file in topics/ says. `session_seconds=N` is how long the others wait
for a member that says nothing, 10 unless said.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tollgate_kit.clock import Clock, SystemClock
from tollgate_kit.event_log.port import (
    Claim,
    EventConsumer,
    EventLogUnavailable,
    EventProducer,
    OwnershipLost,
    Record,
    RecordTooLarge,
    Stored,
)

__all__ = [
    "Claim",
    "EventConsumer",
    "EventLogUnavailable",
    "EventProducer",
    "OwnershipLost",
    "Record",
    "RecordTooLarge",
    "Stored",
    "new_consumer",
    "new_producer",
]


def new_producer(url: str, clock: Clock | None = None) -> EventProducer:
    """Returns a producer for the log at `url`; it connects when it first sends. Raises ValueError for another URL."""
    if url.startswith("sqlite:///"):
        from tollgate_kit.event_log.sqlite_log import SqliteProducer

        return SqliteProducer(_path(url), clock or SystemClock())
    from tollgate_kit.event_log.kafka_log import KafkaProducer

    servers, partitions, _ = _servers(url)
    return KafkaProducer(servers, partitions)


def new_consumer(
    url: str, group: str, topics: Sequence[str], *, instance: str = "", clock: Clock | None = None
) -> EventConsumer:
    """Returns a consumer of `topics` in `group`. Raises ValueError for a URL of another kind.

    `instance` is the name of this member across restarts (static membership in Kafka); a SQLite log has one owner.
    """
    if url.startswith("sqlite:///"):
        from tollgate_kit.event_log.sqlite_log import SqliteConsumer

        return SqliteConsumer(_path(url), group, topics, clock or SystemClock())
    from tollgate_kit.event_log.kafka_consumer import KafkaConsumer
    from tollgate_kit.event_log.kafka_member import Patience

    servers, partitions, session = _servers(url)
    told = Patience(session=session) if session else None
    return KafkaConsumer(servers, group, topics, instance=instance, partitions=partitions, clock=clock, patience=told)


def _path(url: str) -> Path:
    path = Path("/" + url.removeprefix("sqlite:///").lstrip("/"))
    if path == Path("/"):
        raise ValueError("an event log in SQLite names a file: sqlite:///PATH")
    return path


def _servers(url: str) -> tuple[str, int | None, int | None]:
    parts = urlsplit(url)
    if parts.scheme != "kafka" or not parts.netloc:
        raise ValueError("expected `sqlite:///PATH` or `kafka://HOST:PORT[,HOST:PORT]`")
    asked = {name: int(value) if value.isdecimal() else 0 for name, value in parse_qsl(parts.query)}
    if not all(asked.values()):
        raise ValueError(f"each of {', '.join(asked)} is a number above 0")
    return parts.netloc, asked.get("partitions"), asked.get("session_seconds")
