"""What a run was measured on, in words that go with its figures."""

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.processes import load_average, processor_name, spin_milliseconds
from benchmarks.product import ROOT


def machine() -> str:
    """Returns commit, interpreter, system, processor and load."""
    return (
        f"Tollgate {commit_of(ROOT)} on {platform.python_implementation()} "
        f"{platform.python_version()}, {platform.system()} {platform.release()}, {processor_name()}, "
        f"{os.cpu_count()} processors, {load()}"
    )


def commit_of(root: Path) -> str:
    """Returns the commit of a checkout, marked when its files differ."""
    found = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def load() -> str:
    """Returns how busy the machine is with other work."""
    return f"load average {load_average()}, a fixed loop takes {spin_milliseconds():.0f} ms of processor"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Returns median, lowest and highest."""
    return f"{median(values):6.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
