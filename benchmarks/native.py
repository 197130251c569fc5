"""Builds and runs the two programs in C: an upstream that answers at once, and a client that loads the product."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
FLAGS = ("-O2", "-Wall", "-Wextra", "-pthread")


class NoCompiler(Exception):  # noqa: N818 - a state of the machine.
    """No C compiler is installed."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the client saw. Times in milliseconds, `rate` in good answers a second."""

    seconds: float
    good: int
    bad_status: int
    not_whole: int
    broken: int
    last_status: int
    rate: float
    p50_ms: float
    p99_ms: float
    max_ms: float


def build(into: Path) -> None:
    """Compiles `upstream` and `load` into a directory. Raises NoCompiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompiler
    for name in ("upstream", "load"):
        subprocess.run([compiler, *FLAGS, "-o", str(into / name), str(SOURCES / f"{name}.c")], check=True)


def start_upstream(directory: Path, chunks: int) -> tuple[subprocess.Popen[bytes], int]:
    """Starts the upstream; returns its process and its port."""
    process = subprocess.Popen([str(directory / "upstream"), str(chunks)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def run_load(
    directory: Path,
    port: int,
    request: Path,
    *,
    connections: int,
    requests: int,
    events: int = 0,
    rate: float = 0,
    limit_seconds: float = 60,
    times: Path | None = None,
) -> Load:
    """Sends `requests` requests and waits for their answers."""
    arguments = [str(directory / "load"), port, request, connections, requests, events, rate, limit_seconds]
    done = subprocess.run(
        [*map(str, arguments), *([str(times)] if times else [])], stdout=subprocess.PIPE, check=True, text=True
    )
    return Load(**json.loads(done.stdout))
