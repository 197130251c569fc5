"""Builds and runs the two programs in C: an upstream that answers at once, and a client that loads the product."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
FLAGS = ("-O2", "-Wall", "-Wextra", "-pthread")


class NoCompiler(Exception):  # noqa: N818 - a state of the machine.
    """No C compiler is installed; says what to do."""

    def __init__(self) -> None:
        super().__init__("The benchmarks need a C compiler, cc, gcc or clang: install one (Debian: gcc libc6-dev).")


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the client saw.

    Times in milliseconds, `rate` in good answers a second, `late` how many were sent more than 1 ms after
    they were due, `events` and gaps of streams, `open` streams at the end, `processor_seconds` of the client itself.
    """

    seconds: float
    good: int
    bad_status: int
    not_whole: int
    broken: int
    last_status: int
    late: int
    rate: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    events: int
    gap_p50_ms: float
    gap_p99_ms: float
    gap_max_ms: float
    open: int
    processor_seconds: float

    @property
    def failed(self) -> int:
        """How many were not answered as they should."""
        return self.bad_status + self.not_whole + self.broken


def build(into: Path) -> None:
    """Compiles `upstream` and `load` into a directory. Raises NoCompiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompiler
    for name in ("upstream", "load"):
        subprocess.run([compiler, *FLAGS, "-o", str(into / name), str(SOURCES / f"{name}.c")], check=True)


@contextlib.contextmanager
def running_upstream(directory: Path, chunks: int) -> Iterator[tuple[int, int]]:
    """Runs the upstream that was built there; yields its port and its process id."""
    with subprocess.Popen([str(directory / "upstream"), str(chunks)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def run_load(
    directory: Path,
    port: int,
    request: Path,
    *,
    times: Path | None = None,
    marked: Callable[[], None] = lambda: None,
    **options: float,
) -> Load:
    """Runs the client; `options` are those of load.c. `marked` is called when a window begins and when it ends."""
    arguments = [
        str(directory / "load"),
        str(port),
        str(request),
        *(f"{name}={value}" for name, value in options.items()),
    ]
    with contextlib.ExitStack() as stack:
        descriptors = tuple[int, ...]()
        if times is not None:
            file = stack.enter_context(times.open("wb"))
            descriptors = (file.fileno(),)
            arguments.append(f"times={file.fileno()}")
        client = stack.enter_context(
            subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, pass_fds=descriptors)
        )
        assert client.stdout is not None
        line = ""
        for line in client.stdout:
            if not line.startswith("{"):
                marked()
    if client.returncode:
        raise RuntimeError(f"the load client ended with {client.returncode}")
    return Load(**json.loads(line))
