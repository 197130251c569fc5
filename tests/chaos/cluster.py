"""The servers of the cluster profile behind a product: started for it, killed, frozen and started again."""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaBroker
from tests.servers.postgresql import wheel_server
from tests.servers.valkey import RedisServer, valkey_binary

SERVERS: Final = ("postgresql", "valkey", "kafka", "clickhouse")
_PARTITIONS: Final = 2


class Server(Protocol):
    """A server that keeps its data and its port over `kill` and `start`."""

    @property
    def pid(self) -> int: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def stop(self) -> None: ...


class Cluster:
    """PostgreSQL, Valkey, Apache Kafka and ClickHouse's HTTP over chDB, below one directory."""

    def __init__(self, directory: Path) -> None:
        folders = {name: directory / name for name in ("valkey", "kafka", "clickhouse")}
        for folder in folders.values():
            folder.mkdir(parents=True)
        self._postgres = wheel_server()
        self._valkey = RedisServer(valkey_binary(), folders["valkey"])
        self._kafka = KafkaBroker(folders["kafka"])
        self._clickhouse = ClickHouseServer(folders["clickhouse"])
        self._servers: dict[str, Server] = {
            "postgresql": self._postgres,
            "valkey": self._valkey,
            "kafka": self._kafka,
            "clickhouse": self._clickhouse,
        }

    def start(self) -> Mapping[str, str]:
        """Starts all of them; returns the settings with which `tollgate up` uses them in place of embedded parts."""
        for server in self._servers.values():
            server.start()
        settings = {"TOLLGATE_BILLING_CLICKHOUSE_DSN": self._clickhouse.dsn}
        for service in ("EDGE", "ROUTER", "BILLING", "MEDIA_JOBS"):
            settings[f"TOLLGATE_{service}_EVENT_LOG_URL"] = f"{self._kafka.url}?partitions={_PARTITIONS}"
            if service != "ROUTER":
                settings[f"TOLLGATE_{service}_REDIS_URL"] = self._valkey.url
                settings[f"TOLLGATE_{service}_DATABASE_URL"] = self._postgres.new_database(service.lower())
        return settings

    def kill(self, names: Sequence[str]) -> None:
        """Ends every process of these servers at once, as a machine that goes down does; their data stays."""
        for name in names:
            _signal(_family(self._servers[name].pid), signal.SIGKILL)
            self._servers[name].kill()

    def restart(self, names: Sequence[str]) -> None:
        """Starts those that were killed; returns when they answer."""
        for name in names:
            self._servers[name].start()

    @contextlib.contextmanager
    def frozen(self, names: Sequence[str]) -> Iterator[None]:
        """No process of these servers runs meanwhile."""
        pids = [pid for name in names for pid in _family(self._servers[name].pid)]
        _signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(pids, signal.SIGCONT)

    def stop(self) -> None:
        """Stops all of them. Data stays in the directory, but for PostgreSQL's, which is elsewhere."""
        for server in self._servers.values():
            server.stop()
        self._postgres.remove()


def _family(pid: int) -> list[int]:
    """Returns a process and all below it, who starts others before those that it started."""
    found = [pid]
    for one in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children = Path(f"/proc/{one}/task/{one}/children").read_text(encoding="utf-8")
            found += map(int, children.split())
    return found


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
