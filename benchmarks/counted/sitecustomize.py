"""Starts edge or router anew under callgrind, which counts nothing before it is told to.

Python imports this file at start by its name; only `benchmarks.instructions` puts this folder on the path.
"""

import os
import sys

_COUNTED = os.environ.pop("TOLLGATE_BENCH_COUNTED", "")

if _COUNTED and f"tollgate_{_COUNTED}" in sys.orig_argv:
    os.execvp(
        "valgrind",
        [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            "--dump-line=no",
            "--compress-strings=no",
            "--compress-pos=no",
            f"--callgrind-out-file={os.environ['TOLLGATE_BENCH_COUNTS']}",
            sys.executable,
            *sys.orig_argv[1:],
        ],
    )
elif _COUNTED:
    # For the processes that this one starts.
    os.environ["TOLLGATE_BENCH_COUNTED"] = _COUNTED
