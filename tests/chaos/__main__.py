"""`python -m tests.chaos [--rounds N] [--seed S]`: breaks a running product again and again and audits its books."""

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.machine import commit_of

from tests.chaos.accidents import KINDS, NETWORK, SEVERAL, with_network
from tests.chaos.builds import BUILDS, make
from tests.chaos.cluster import Cluster
from tests.chaos.report import Run, keep
from tests.chaos.rounds import MOST_ACCIDENTS, SETTINGS, check_round, draw_accidents, run_round
from tests.integration.product import Product
from tests.servers.process import REPOSITORY, ServerFailedError, free_port

ROUNDS: Final = 20
SOUND: Final = "sound"
PROFILES: Final = ("embedded", "cluster")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 every round added up, 1 one did not."""
    options = _options(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    directory = Path(tempfile.mkdtemp(prefix="tollgate-chaos-"))
    began = time.monotonic()
    repeated = _repeated(options)
    run = Run(seed, options.first, repeated, options.build, options.profile)
    result, found, number = "adds up", "", options.first
    try:
        with _started(options, directory) as (product, cluster):
            print(f"seed {seed}, {options.rounds} rounds, the product's home is {product.home}", flush=True)
            for number in range(options.first, options.first + options.rounds):
                _round(product, cluster, run, f"{seed}/{number}", number, options)
                if options.minutes and time.monotonic() - began >= options.minutes * 60:
                    break
    except (AssertionError, ServerFailedError) as error:
        result, found = "does not add up", str(error)
        print("".join(traceback.format_exception(error, limit=-4)), file=sys.stderr)
        print(
            f"round {number} does not add up; again by:"
            f" make chaos ARGS='--seed {seed} --first {number} --rounds 1 {repeated}'\n"
            f"logs and data are left in {directory}",
            flush=True,
        )
    entry = run.entry(
        result, time.monotonic() - began, found=found, commit=commit_of(REPOSITORY), ended=datetime.now(UTC)
    )
    if options.report:
        keep(entry, options.report)
    killed = ", ".join(f"{name} {count}" for name, count in entry["kills"].items())
    print(f"killed {sum(entry['kills'].values())} ({killed}); {entry['requests']} requests, {entry['events']} events")
    if result != "adds up":
        return 1
    print(f"all {run.rounds} rounds add up")
    shutil.rmtree(directory)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"How many rounds; {ROUNDS}.")
    parser.add_argument("--minutes", type=float, default=0, help="End after the round in which these are over.")
    parser.add_argument("--seed", type=int, help="Repeats a run's accidents; by default others each time.")
    parser.add_argument("--first", type=int, default=1, help="The round to begin with, to repeat a single one.")
    parser.add_argument("--workers", type=int, default=1, help="Processes of edge and of router; 1.")
    parser.add_argument(
        "--accidents", type=int, default=MOST_ACCIDENTS, help=f"The most accidents of a round; {MOST_ACCIDENTS}."
    )
    parser.add_argument(
        "--profile", choices=PROFILES, default=PROFILES[0], help="Embedded parts, or real servers, which are hurt too."
    )
    parser.add_argument(
        "--kind", dest="kinds", action="append", choices=sorted({*SEVERAL, *NETWORK}), help="Only these."
    )
    parser.add_argument(
        "--failpoint", default="", help="Billing ends itself there in each of its lives, such as after_insert:3."
    )
    parser.add_argument("--report", type=Path, help="Adds the run to this report, such as tests/chaos/runs.json.")
    parser.add_argument("--build", choices=(SOUND, *BUILDS), default=SOUND, help="Or a broken one, to be found.")
    return parser.parse_args(arguments)


def _repeated(options: argparse.Namespace) -> str:
    """Returns the arguments that a run is repeated with, but for seed and rounds."""
    repeated = f"--workers {options.workers} --accidents {options.accidents}"
    repeated += f" --profile {options.profile}" if options.profile != PROFILES[0] else ""
    repeated += f" --build {options.build}" if options.build != SOUND else ""
    repeated += f" --failpoint {options.failpoint}" if options.failpoint else ""
    return repeated + "".join(f' --kind "{kind}"' for kind in options.kinds or ())


@contextlib.contextmanager
def _started(options: argparse.Namespace, directory: Path) -> Iterator[tuple[Product, Cluster | None]]:
    """Starts the product, and before it the servers of its profile; stops them after it."""
    # Always the same port, so that clients find a product again that was started anew.
    flags = ["--port", str(free_port()), "--workers", str(options.workers)]
    more = {"TOLLGATE_BILLING_FAILPOINT": options.failpoint, **_build(options.build, directory)}
    with contextlib.ExitStack() as ends:
        cluster = Cluster(directory / "servers") if options.profile == "cluster" else None
        if cluster:
            ends.callback(cluster.stop)
            more |= cluster.start()
        product = Product(directory, flags, environment=SETTINGS | more)
        ends.callback(product.stop)
        yield product.start(), cluster


def _build(name: str, directory: Path) -> Mapping[str, str]:
    """Returns the environment in which the product runs this build."""
    if name == SOUND:
        return {}
    paths = [str(make(name, directory)), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _round(
    product: Product, cluster: Cluster | None, run: Run, seed: str, number: int, options: argparse.Namespace
) -> None:
    """Runs a round and counts it. Raises AssertionError or ServerFailedError when it does not add up."""
    began = time.monotonic()
    source = random.Random(seed)
    kinds = options.kinds or (SEVERAL if options.workers > 1 else KINDS)
    accidents = draw_accidents(source, options.accidents, kinds, options.profile)
    if not options.kinds:
        accidents = with_network(accidents, random.Random(f"{seed}/network"))
    print(f"round {number}: ", end="", flush=True)
    found = run_round(product, accidents, source, cluster)
    check_round(found)
    run.add(found)
    print(f"{found}, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
