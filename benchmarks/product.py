"""The product under measurement, started as a user starts it: `tollgate up`."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.processes import stop
from benchmarks.subject import Subject

START_SECONDS = 300
STOP_SECONDS = 15
MODEL = "gpt-5-mini"
REQUEST_PATH = ("edge", "router", "valkey")
ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("cli/src", "libs/*/src", "services/*/src", "simulators/*/src")
WITHOUT = Path(__file__).parent / "without"
CHANNEL = """channels:
  - name: bench
    provider: openai
    base_url: http://127.0.0.1:{port}/v1
    credentials: [{{file: {secret}}}]
    models: [{model}]
    private_network: true
"""


class NoTree(Exception):  # noqa: N818 - a state of the machine.
    """A directory is no checkout of the product; says which."""


@dataclass(frozen=True, slots=True)
class Product:
    """A running product. `processes` are process ids by kind, such as edge, router, valkey."""

    home: Path
    host: str
    port: int
    api_key: str
    admin_key: str
    processes: Mapping[str, list[int]]
    supervisor: int

    def pids(self, *kinds: str) -> list[int]:
        """Returns the ids of these kinds of processes."""
        return [pid for kind in kinds for pid in self.processes.get(kind, [])]

    def subject(self, name: str = "tollgate", kinds: Sequence[str] = REQUEST_PATH) -> Subject:
        """Returns what is sent to it and which of its processes count."""
        return Subject(name, self.port, {"authorization": f"Bearer {self.api_key}"}, MODEL, self.pids(*kinds))

    def call(self, method: str, path: str, key: str, body: object = None) -> tuple[int, Any]:
        """Returns status and decoded body of one request to the public port."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read() or b"null")
        finally:
            connection.close()

    def chat(self) -> None:
        """Asks for one small completion. Raises RuntimeError when it is refused."""
        message = {"role": "user", "content": "Say hello"}
        status, body = self.call(
            "POST", "/v1/chat/completions", self.api_key, {"model": MODEL, "messages": [message], "max_tokens": 16}
        )
        if status != 200:
            raise RuntimeError(f"the product answered {status}: {body}")

    def rows(self) -> int:
        """Returns how many requests the usage store knows."""
        status, body = self.call("GET", "/api/v1/usage", self.admin_key)
        if status != 200:
            raise RuntimeError(f"the usage query was answered {status}: {body}")
        return int(body["requests"])


def write_channel(directory: Path, upstream_port: int) -> Path:
    """Writes a configuration whose only channel is the benchmarks' upstream; returns the file."""
    secret, config = directory / "upstream.key", directory / "tollgate.yaml"
    secret.write_text("sk-bench\n")
    config.write_text(CHANNEL.format(port=upstream_port, secret=secret, model=MODEL))
    return config


def sources(root: Path) -> list[str]:
    """Returns the folders of a checkout that hold its packages. Raises NoTree."""
    found = [str(folder) for pattern in SOURCES for folder in sorted(root.glob(pattern))]
    if not (root / "cli/src/tollgate_cli").is_dir():
        raise NoTree(f"{root} is no checkout of Tollgate: it has no cli/src/tollgate_cli")
    return found


@contextlib.contextmanager
def running(
    home: Path,
    config: Path | None = None,
    *,
    root: Path = ROOT,
    without: str = "",
    callgrind: Path | None = None,
    **settings: str,
) -> Iterator[Product]:
    """Runs the product of the checkout `root` on a home, with this interpreter.

    `without` names a feature to switch off, `callgrind` a directory where edge and router leave counts of instructions
    when they are told to; see `without/sitecustomize.py`. Raises NoTree, and RuntimeError when it does not start.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOLLGATE_", "OTEL_")) and not name.endswith("_API_KEY")
    }
    # Before what is installed, which may be of another checkout.
    path = [*sources(root), *filter(None, [environment.get("PYTHONPATH")])]
    environment |= {
        "TOLLGATE_EDGE_DEMO_CREDIT_USD": "1000000",
        "TOLLGATE_ROUTER_TRACE_SAMPLE_RATIO": "0.01",
        **settings,
    }
    if without or callgrind is not None:
        environment["TOLLGATE_BENCH_WITHOUT"] = without
        environment["TOLLGATE_BENCH_CALLGRIND"] = "" if callgrind is None else str(callgrind)
        path.insert(0, str(WITHOUT))
    environment["PYTHONPATH"] = os.pathsep.join(path)
    ready = home.with_name(f"{home.name}.ready.json")
    ready.unlink(missing_ok=True)
    arguments = [
        sys.executable,
        "-m",
        "tollgate_cli",
        "up",
        "--home",
        str(home),
        "--port",
        "0",
        "--ready-file",
        str(ready),
    ]
    if config is not None:
        arguments += ["--config", str(config)]
    with home.with_name(f"{home.name}.log").open("wb") as log:
        process = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield wait_ready(process, home, ready)
        finally:
            stop(process, STOP_SECONDS)


def wait_ready(process: subprocess.Popen[bytes], home: Path, ready: Path, seconds: float = START_SECONDS) -> Product:
    """Returns the product once its ready file is there; its output is in `home` with `.log` behind it.

    Raises RuntimeError when it ended or is not there within `seconds`.
    """
    last = time.monotonic() + seconds
    while time.monotonic() < last and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(ready.read_bytes())
            address = urlsplit(found["base_url"])
            return Product(
                home=home,
                host=address.hostname or "127.0.0.1",
                port=address.port or 80,
                api_key=found["api_key"],
                admin_key=found["admin_key"],
                processes=found["processes"],
                supervisor=found["pid"],
            )
        time.sleep(0.01)
    raise RuntimeError(f"the product did not start:\n{home.with_name(f'{home.name}.log').read_text()[-4000:]}")
