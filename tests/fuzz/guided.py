"""The same targets under atheris, which mutates inputs by the code that they reach; from a lock of its own.

`main` runs within a process of its own, in which our packages are instrumented as they are imported: libFuzzer ends
the process by itself.
"""

import base64
import importlib
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, Self

from tests.fuzz.cases import dump
from tests.fuzz.runner import Target, failure, made_small
from tests.integration import sdk_packages

ENGINE: Final = Path(__file__).parent / "engine"
KEPT: Final = Path(__file__).parent / "inputs"
"""A file for each target: inputs that together reach most of what long runs have reached, a line of Base64 each."""

BREAKS: Final = 77
INSTRUMENTED: Final = (
    *("tollgate_kit", "tollgate_holds", "tollgate_rating", "tollgate_resources", "tollgate_streams"),
    *("tollgate_edge", "tollgate_router", "tollgate_billing"),
    "tests.fuzz.planted",
)
# Most cases are drawn from fewer bytes.
LONGEST_BYTES: Final = 512
# What is kept of a target stays small enough for the repository: 17 of them are below a megabyte.
MOST_KEPT_BYTES: Final = 40_000
_FRESH: Final = 32
_RUNS: Final = re.compile(r"^stat::number_of_executed_units: +(\d+)$", re.MULTILINE)
_REACHED: Final = re.compile(r"\bcov: (\d+) ft: (\d+)")


class ByteSource(Random):
    """Chance that comes from bytes: the same case for the same bytes, and a near one for bytes that are near.

    Beyond their end chance goes on, since some draws wait for a coin to fall the other way; always in the same way, so
    that a byte that changes does not change all that comes behind the others.
    """

    def __new__(cls, _data: bytes) -> Self:
        return super().__new__(cls)

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._beyond = Random(0)
        super().__init__(0)

    def getrandbits(self, k: int) -> int:
        size = (k + 7) // 8
        if self._at + size > len(self._data):
            self._at = len(self._data)
            return self._beyond.getrandbits(k)
        found = int.from_bytes(self._data[self._at : self._at + size], "big")
        self._at += size
        return found >> (size * 8 - k)

    def random(self) -> float:
        # A byte decides most coins; 256 steps are enough for the shares that targets ask for.
        return self.getrandbits(8) / 256


@dataclass(frozen=True, slots=True)
class Run:
    """What a run did: inputs tried, branches and features reached; `output` is what it printed."""

    broke: bool
    inputs: int
    branches: int
    features: int
    output: str


def packages() -> tuple[Path, str]:
    """Returns the folder that atheris is in, and why it is not there, or nothing."""
    python, problem = sdk_packages.installed(ENGINE)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return python.parent.parent / "lib" / version / "site-packages", problem


def kept_inputs(name: str) -> list[bytes]:
    """Returns the inputs of a target that are kept; none where there is no file."""
    path = KEPT / f"{name}.txt"
    return [base64.b64decode(line) for line in path.read_text().split()] if path.exists() else []


def fresh_inputs(seed: int) -> list[bytes]:
    """Returns inputs to begin with, as long as they may be: an empty one grows slowly."""
    return [Random(f"{seed}/{number}").randbytes(LONGEST_BYTES) for number in range(_FRESH)]


def keep(name: str, inputs: Sequence[bytes]) -> None:
    """Writes the inputs of a target."""
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.txt").write_text("".join(lines_of(inputs)))


def lines_of(inputs: Sequence[bytes]) -> list[str]:
    """Returns inputs as lines, short ones first and as many as may be kept."""
    lines = sorted({f"{base64.b64encode(one).decode()}\n" for one in inputs if one}, key=lambda line: (len(line), line))
    ends = itertools.accumulate(map(len, lines))
    return [line for line, end in zip(lines, ends, strict=True) if end <= MOST_KEPT_BYTES]


def fuzz(make: type[Target], packages: Path, corpus: Path, *, runs: int = 0, seconds: int = 0, seed: int = 0) -> Run:
    """Tries inputs for a target, until `runs` or `seconds` (0: without end); `corpus` takes what reaches new code.

    `packages` is the folder that atheris is in.
    """
    flags = [f"-seed={seed % 2**31 or 1}", f"-max_len={LONGEST_BYTES}", "-print_final_stats=1", "-len_control=0"]
    flags += [f"-runs={runs}"] if runs else []
    flags += [f"-max_total_time={seconds}"] if seconds else []
    return _engine(make, packages, flags, [corpus])


def smallest(make: type[Target], packages: Path, corpus: Path) -> list[bytes]:
    """Returns those inputs of a corpus that together reach all that it reaches, small ones first."""
    with tempfile.TemporaryDirectory() as merged:
        _engine(make, packages, ["-merge=1", f"-max_len={LONGEST_BYTES}"], [Path(merged), corpus])
        return [path.read_bytes() for path in sorted(Path(merged).iterdir())]


def _engine(make: type[Target], packages: Path, flags: Sequence[str], folders: Sequence[Path]) -> Run:
    path = os.pathsep.join([*(one for one in sys.path if one), str(packages)])
    with tempfile.TemporaryDirectory() as broken:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.fuzz.guided",
                f"{make.__module__}:{make.__name__}",
                *flags,
                f"-artifact_prefix={broken}/",
                *map(str, folders),
            ],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode not in {0, BREAKS}:
        raise RuntimeError(f"atheris ended with {done.returncode}:\n{done.stdout[-3000:]}")
    runs, reached = _RUNS.search(done.stdout), _REACHED.findall(done.stdout)
    branches, features = map(int, reached[-1]) if reached else (0, 0)
    return Run(done.returncode == BREAKS, int(runs[1]) if runs else 0, branches, features, done.stdout)


def main(arguments: Sequence[str]) -> None:
    """Never returns: libFuzzer takes the process over.

    `arguments` are a target, as module:class, and flags and folders of libFuzzer.
    """
    import atheris  # type: ignore[import-not-found]

    name, *flags = arguments
    module, _, kind = name.partition(":")
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        # One alone: what is instrumented takes long to import.
        target = getattr(importlib.import_module(module), kind)()
    # By these words libFuzzer starts itself again, to merge.
    atheris.Setup([f"{sys.executable} -m tests.fuzz.guided {name}", *flags], _tested(target))
    atheris.Fuzz()


def _tested(target: Target) -> Callable[[bytes], None]:
    tried = 0

    def test(data: bytes) -> None:
        nonlocal tried
        tried += 1
        case = target.draw(ByteSource(data))
        error = failure(target, case)
        if error is not None:
            finding = made_small(target, 0, case, error)
            print(
                f"stat::number_of_executed_units: {tried}\n{finding.words}\nThe smallest case:\n{dump(finding.case)}",
                flush=True,
            )
            # libFuzzer would add a trace of its own frames.
            os._exit(BREAKS)

    return test


if __name__ == "__main__":
    main(sys.argv[1:])
