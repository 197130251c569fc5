"""The whole product as a user starts it: `tollgate up` in a home of its own, told apart by its ready file."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from tests.integration.admin_port import ask_admin
from tests.servers.process import REPOSITORY, Child, alive, wait_until

from tollgate_cli.commands.up import provider_variables
from tollgate_cli.home import Home

# A loaded machine with two cores needs more than half a minute for seven processes.
START_SECONDS = 180.0
BOOK_SECONDS = 90.0
PAGE = 1000
MONTH_LASTS = timedelta(minutes=15)
# Events in the spools of edge and router and in the outbox of media-jobs, and jobs that have not ended.
_UNDER_WAY = re.compile(r"^tollgate_\w+_(?:spool_records|outbox_depth|jobs_open\{.*\}) (\S+)$", re.MULTILINE)


class AwayError(AssertionError):
    """A part of the product is away: expected while it is started again after a crash, a failure otherwise."""


class Product:
    """One running product. `start` gives a ready one, `stop` leaves no process behind; the home stays between both.

    `arguments` are further ones of `tollgate up`, `environment` adds to a clean one: no provider's key, no TOLLGATE_*.
    `command` takes the place of `tollgate up` and its arguments.
    """

    def __init__(
        self,
        directory: Path,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        command: Sequence[str | Path] = (),
    ) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.ready_file = directory / "ready.json"
        self.ready: dict[str, Any] = {}
        self.environment = clean_environment() | dict(environment or {})
        usual = [sys.executable, "-m", "tollgate_cli", "up", "--home", self.home, "--ready-file", self.ready_file]
        self.child = Child(
            command or [*usual, "--port", "0", *arguments],
            directory / "up.log",
            environment=self.environment,
            cwd=REPOSITORY,
            stop_signal=signal.SIGINT,
            own_group=True,
        )
        self._http: httpx.Client | None = None

    def start(self) -> "Product":
        """Returns itself when the product can serve. Raises ServerFailedError with what it printed otherwise."""
        self.ready_file.unlink(missing_ok=True)
        self.child.start(self.ready_file.exists, START_SECONDS)
        self.read_ready()
        if self._http is not None:
            self._http.close()
        headers = {"authorization": f"Bearer {self.admin_key}"}
        # Longer than edge waits for billing to compare the books, which takes its time on a busy machine.
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=180, trust_env=False)
        return self

    def stop(self) -> int:
        """Stops the product as Ctrl-C does and returns its exit code; kills what is left of it and fails then."""
        self.read_ready()
        if self._http is not None:
            self._http.close()
        self.child.stop(30)
        left = [pid for pids in self.ready.get("processes", {}).values() for pid in pids if _end(pid)]
        assert not left, f"processes {left} outlived the product:\n{self.child.tail()}"
        assert self.child.process is not None
        return self.child.process.returncode

    def cli(
        self, *arguments: str | Path, home: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs `tollgate` with `arguments` to its end, on this product's home or another one."""
        return subprocess.run(
            [sys.executable, "-m", "tollgate_cli", *arguments],
            env=self.environment | {"TOLLGATE_HOME": str(home or self.home), "COLUMNS": "200"} | environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def run_script(self, script: str, directory: Path) -> subprocess.CompletedProcess[str]:
        """Runs the shell commands of a document to their end, in a new directory that looks like a checkout."""
        (directory / ".venv" / "bin").mkdir(parents=True)
        for name, words in (("python", [sys.executable]), ("tollgate", [sys.executable, "-m", "tollgate_cli"])):
            starter = directory / ".venv" / "bin" / name
            starter.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
            starter.chmod(0o755)
        (directory / ".tollgate").symlink_to(self.home)
        return subprocess.run(
            ["bash", "-c", script],
            cwd=directory,
            env=self.environment | {"TOLLGATE_HOME": str(self.home)},
            check=False,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def read_ready(self) -> dict[str, Any]:
        """Returns what the ready file says now."""
        if self.ready_file.exists():
            self.ready = json.loads(self.ready_file.read_bytes())
        return self.ready

    @property
    def base_url(self) -> str:
        """The base URL for SDKs, with /v1."""
        return str(self.ready["base_url"])

    @property
    def url(self) -> str:
        """The address without /v1."""
        return self.base_url.removesuffix("/v1")

    @property
    def api_key(self) -> str:
        return str(self.ready["api_key"])

    @property
    def admin_key(self) -> str:
        return str(self.ready["admin_key"])

    def pids(self, service: str) -> list[int]:
        """Returns the processes of edge, router, billing, media-jobs, valkey or simulator, restarts included."""
        return list(self.read_ready()["processes"][service])

    @property
    def api(self) -> httpx.Client:
        """A client of the product's own API that asks as its operator; addresses are relative, such as /api/v1/keys."""
        assert self._http is not None, "not started"
        return self._http

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """Returns the decoded answer of the operator's API below /api/v1. Raises AwayError while a part is away."""
        try:
            reply = self.api.get(f"/api/v1/{path}", params=query)
        except httpx.TransportError as error:
            raise AwayError(str(error)) from error
        if reply.status_code == 503:
            raise AwayError(reply.text)
        assert reply.status_code == 200, f"{reply.status_code}: {reply.text}"
        return dict(reply.json())

    def usage(self, **query: str | int) -> dict[str, Any]:
        """Returns the sums: `requests`, `total` and `rows`."""
        return self.get("usage", **query)

    def balance(self, organization_id: str = "") -> dict[str, Any]:
        """Returns `ledger`, `wallet`, `held` and `settled_unbooked`, each with its exact `…_pico`."""
        return self.get("balance", organization_id=organization_id)

    def requests(self, **query: str | int) -> list[dict[str, Any]]:
        """Returns all usage rows, newest first."""
        return list(self._items("requests", {"kind": "usage", **query}))

    def _items(self, path: str, query: Mapping[str, str | int]) -> Iterator[dict[str, Any]]:
        cursor: str | None = ""
        while cursor is not None:
            page = self.get(path, **query, limit=PAGE, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page["next"]

    def under_way(self) -> int:
        """Returns how many jobs are open and events not in the event log.

        Raises AwayError while a process is away or not ready.
        """
        found = 0.0
        for path in sorted(Home(self.home).run.glob("*-admin.sock")):
            try:
                (_, text), (status, ready) = ask_admin(path, "/metrics"), ask_admin(path, "/readyz")
            except OSError as error:
                raise AwayError(f"{path.name}: {error}") from error
            if status != 200:
                raise AwayError(f"{path.name}: {ready}")
            found += sum(map(float, _UNDER_WAY.findall(text)))
        return int(found)

    def create_key(self, name: str, **more: Any) -> dict[str, Any]:
        """Makes an API key: `id`, `key` and more."""
        reply = self.api.post("/api/v1/keys", json={"name": name, **more})
        assert reply.status_code == 201, reply.text
        return dict(reply.json())

    def wait_booked(self, count: int, seconds: float = BOOK_SECONDS) -> dict[str, Any]:
        """Returns the usage when at least `count` requests are in it and no money waits between wallet and ledger."""
        self.wait(lambda: self.usage()["requests"] >= count and self._settled(), f"{count} requests booked", seconds)
        return self.usage()

    def wait_settled(self, seconds: float = BOOK_SECONDS) -> dict[str, Any]:
        """Returns the balance when every request that was admitted is booked, and wallet and ledger agree."""
        self.wait(self._settled, "wallet and ledger to agree", seconds)
        return self.balance()

    def _settled(self) -> bool:
        balance = self.balance()
        waiting = int(balance["held_pico"]) or int(balance["settled_unbooked_pico"])
        return not waiting and balance["wallet_pico"] == balance["ledger_pico"]

    def wait_row(self, request_id: str, seconds: float = BOOK_SECONDS) -> dict[str, Any]:
        """Returns the usage row of one request when it is there."""
        found: list[dict[str, Any]] = []

        def there() -> object:
            found[:] = self.requests(request_id=request_id)
            return found

        self.wait(there, f"the usage row of {request_id}", seconds)
        return found[0]

    @staticmethod
    def wait(condition: Callable[[], object], what: str, seconds: float = BOOK_SECONDS) -> None:
        """Asks again and again until `condition` is true; while a part of the product is away, it is not."""

        def met() -> object:
            try:
                return condition()
            except AwayError:
                return False

        wait_until(met, what, seconds, pause=0.1)

    @property
    def simulator_url(self) -> str:
        """Where the simulated provider listens, without /v1."""
        return f"http://127.0.0.1:{(self.home / 'simulator' / 'port').read_text().strip()}"

    def simulator_summary(self) -> dict[str, Any]:
        """Returns the totals of everything that the simulated provider accepted."""
        return dict(self._simulator("/_ledger/summary"))

    def simulator_ledger(self) -> list[dict[str, Any]]:
        """Returns every line of the simulated provider's ledger; those of replies still open are left out."""
        found: list[dict[str, Any]] = []
        cursor = 0
        while True:
            page = self._simulator(f"/_ledger?since={cursor}")
            found += [entry for entry in page["items"] if entry["outcome"] != "open"]
            if not page["items"]:
                return found
            cursor = page["next"]

    def plant(self, faults: str, count: int = 1) -> None:
        """Makes the next requests to the simulated provider fail; its README lists the faults."""
        reply = httpx.post(f"{self.simulator_url}/_faults", json={"faults": faults, "count": count}, trust_env=False)
        assert reply.status_code == 200, reply.text

    def release(self) -> None:
        """Lets replies of the simulated provider go on that are held, by the fault of this name."""
        assert httpx.post(f"{self.simulator_url}/_release", trust_env=False).status_code == 200

    def _simulator(self, path: str) -> Any:
        reply = httpx.get(f"{self.simulator_url}{path}", timeout=60, trust_env=False)
        assert reply.status_code == 200, reply.text
        return reply.json()


def steady_month() -> str:
    """Returns the month by UTC, such as 2026-11, which lasts for a quarter of an hour at least.

    Where less is left of one, the next is waited for: a statement has what was booked in its month.
    """
    month = f"{datetime.now(UTC):%Y-%m}"
    if f"{datetime.now(UTC) + MONTH_LASTS:%Y-%m}" != month:
        Product.wait(lambda: f"{datetime.now(UTC):%Y-%m}" != month, "the next month", 2 * MONTH_LASTS.total_seconds())
    return f"{datetime.now(UTC):%Y-%m}"


def clean_environment() -> dict[str, str]:
    """Returns the environment of a user who has no provider's key and no settings of ours."""
    secrets = provider_variables()
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOLLGATE_", "OTEL_", "OPENAI_")) and name not in secrets
    }


def _end(pid: int) -> bool:
    """Kills a process that should be gone, and tells whether it was still there."""
    if not alive(pid):
        return False
    os.kill(pid, signal.SIGKILL)
    return True
