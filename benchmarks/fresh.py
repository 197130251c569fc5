"""From `git clone` to the first answer, with nothing installed and every package cache empty."""

import os
import signal
import subprocess
import time

from benchmarks.product import ROOT, wait_ready
from benchmarks.results import Results
from benchmarks.workloads import Bench

MOST_SECONDS = 600
STOP_SECONDS = 30


def clone(bench: Bench, results: Results) -> None:
    """Prints how long a stranger waits; packages come from the registry that pip and uv are set to."""
    tree, home = bench.directory / "clone", bench.directory / "clone-home"
    ready = bench.directory / "clone.ready.json"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TOLLGATE_", "OTEL_", "PYTHON"))}
    kept = {name: value for name, value in kept.items() if name != "VIRTUAL_ENV" and not name.endswith("_API_KEY")}
    for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR"):
        kept[name] = str(bench.directory / name.lower())
    began = time.monotonic()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tree)], check=True)
    command = ["make", "up", f"ARGS=--home {home} --port 0 --ready-file {ready}"]
    with home.with_name(f"{home.name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tree, env=kept, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        product = None
        try:
            product = wait_ready(process, home, ready, MOST_SECONDS)
            product.chat()
            seconds = time.monotonic() - began
        finally:
            # `make` ends when the product has.
            os.kill(product.supervisor if product is not None else process.pid, signal.SIGTERM)
            process.wait(STOP_SECONDS)
    results.add("clone", seconds=seconds)
    print(f"\nClone to first answer, package caches empty: {seconds:.0f} s", flush=True)
