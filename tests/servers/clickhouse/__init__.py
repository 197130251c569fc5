"""ClickHouse over HTTP, for tests of the wire: a small server of our own over chDB, in a process of its own."""

import http.client
import sys
from pathlib import Path

from tests.servers.process import REPOSITORY, Child, free_port, unavailable

USER = "app"
PASSWORD = "not-a-secret"


class ClickHouseServer:
    """Keeps its tables in `directory` and its port over `kill` and `start`."""

    def __init__(self, directory: Path) -> None:
        try:
            import chdb  # noqa: F401
        except ImportError:
            unavailable("ClickHouse", "the wheel chdb")
        self.port = free_port()
        self._mark = directory / "read-only"
        command = [sys.executable, "-m", "tests.servers.clickhouse.http_server", directory / "tables", str(self.port)]
        self._child = Child([*command, USER, PASSWORD], directory / "clickhouse.log", cwd=REPOSITORY)

    @property
    def dsn(self) -> str:
        """What clickhouse-connect takes; the database is `default`."""
        return f"http://{USER}:{PASSWORD}@127.0.0.1:{self.port}/default"

    @property
    def pid(self) -> int:
        return self._child.pid

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        self._child.start(self._answers)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def read_only(self, *, on: bool) -> None:
        """Has the engine refuse to write, as it does for a user who may only read, or take writes again."""
        if on:
            self._mark.touch()
        else:
            self._mark.unlink(missing_ok=True)

    def kill(self) -> None:
        """Crashes the server."""
        self._child.kill()

    def stop(self) -> None:
        """Stops the server."""
        self._child.stop()
