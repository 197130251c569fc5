"""A network of one's own: peers are other people's programs, and reach nothing but the loopback while they run."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence

INSIDE = "TOLLGATE_BENCH_ALONE"
_SET_FLAGS, _UP, _RUNNING = 0x8914, 0x1, 0x40


def is_alone() -> bool:
    """Tells whether this process was started by `run_alone`; then brings its loopback up."""
    if not os.environ.get(INSIDE):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP | _RUNNING))
    return True


def run_alone(module: str, arguments: Sequence[str]) -> int | None:
    """Runs a module again where there is no network; None when this system cannot."""
    unshare = shutil.which("unshare")
    flags = ["--map-root-user", "--net", "--mount-proc", "--fork", "--pid"]
    if unshare is None or subprocess.run([unshare, *flags, "true"], check=False, capture_output=True).returncode:
        return None
    command = [unshare, *flags, sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=os.environ | {INSIDE: "1"}, check=False).returncode
