"""What the kernel says about processes, processor time used and memory held, and how they are stopped."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(pids: Iterable[int]) -> float:
    """Returns user and system time of all threads of the processes, in seconds, exact to a tick (10 ms)."""
    total = 0
    for pid in pids:
        # The name stands in brackets and may hold anything; utime and stime are the 12th and 13th field behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def thread_seconds(pid: int) -> dict[str, float]:
    """Returns the same of the threads of a process that run now, added up by their names."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end while they are looked through.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            head, _, tail = (task / "stat").read_text().rpartition(")")
            name, fields = head.partition("(")[2], tail.split()
            found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / TICKS
    return found


def proportional_bytes(pid: int) -> int:
    """Returns the proportional set size of a process: shared pages count by how many share them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"the kernel reports no proportional set size of process {pid}")


def resident_bytes(pid: int) -> int:
    """Returns the resident set size of a process."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """Returns the highest resident set size since the start, or since `forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Has the kernel take what is resident now as the highest."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"the kernel reports no {name} of process {pid}")


def spin_milliseconds() -> float:
    """Returns the processor time of a fixed piece of work: what the machine's other load makes of one's own."""
    began = time.process_time()
    total = 0
    for number in range(1_000_000):
        total += number & 7
    return (time.process_time() - began) * 1000


def processor_name() -> str:
    """Returns the name of the machine's processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Asks a process to stop, and kills it when it has not within `seconds`."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
