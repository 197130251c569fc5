"""`python -m tests.chaos [--rounds N] [--seed S]`: breaks a running product again and again and audits its books."""

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.chaos.rounds import SETTINGS, check_round, draw_accidents, run_round
from tests.integration.product import Product
from tests.servers.process import ServerFailedError, free_port

ROUNDS: Final = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 every round added up, 1 one did not."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"How many rounds; {ROUNDS}.")
    parser.add_argument("--seed", type=int, help="Repeats a run's accidents; by default others each time.")
    parser.add_argument("--first", type=int, default=1, help="The round to begin with, to repeat a single one.")
    parser.add_argument("--workers", type=int, default=1, help="Processes of edge and of router; 1.")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    directory = Path(tempfile.mkdtemp(prefix="tollgate-chaos-"))
    # Always the same port, so that clients find a product again that was started anew.
    flags = ["--port", str(free_port()), "--workers", str(options.workers)]
    product = Product(directory, flags, environment=SETTINGS)
    print(f"seed {seed}, {options.rounds} rounds, the product's home is {product.home}", flush=True)
    try:
        product.start()
        for number in range(options.first, options.first + options.rounds):
            began = time.monotonic()
            source = random.Random(f"{seed}/{number}")
            accidents = draw_accidents(source)
            print(f"round {number}: ", end="", flush=True)
            found = run_round(product, accidents, source)
            check_round(found)
            print(f"{found}, {time.monotonic() - began:.0f} s", flush=True)
    except (AssertionError, ServerFailedError) as error:
        print("".join(traceback.format_exception(error, limit=-4)), file=sys.stderr)
        print(
            f"round {number} does not add up; again by: make chaos ARGS='--seed {seed} --first {number} --rounds 1"
            f" --workers {options.workers}'\n"
            f"logs and data are left in {directory}",
            flush=True,
        )
        return 1
    finally:
        product.stop()
    print(f"all {options.rounds} rounds add up")
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
