"""`python -m tests.model [--examples N] [--seed S]`: runs of the rule machine over real code."""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from typing import Final

from tests.model import broken
from tests.model.run import explore

EXAMPLES: Final = 5_000
BUILDS: Final = {
    "sound": None,
    "no-deduplication": broken.NoDeduplication,
    "commit-first": broken.CommitBeforeInsert,
    "looks-too-early": broken.LooksTooEarly,
    "one-intent": broken.OneIntent,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when nothing was lost or doubled; what was found is raised, with the steps that lead there."""
    parser = argparse.ArgumentParser(prog="chaos-model", description=__doc__)
    parser.add_argument("--examples", type=int, default=EXAMPLES, help=f"How many runs; {EXAMPLES}.")
    parser.add_argument("--seed", type=int, help="Repeats a search; by default another each time.")
    parser.add_argument("--build", choices=BUILDS, default="sound", help="Or one of the broken builds.")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.examples} runs of the {options.build} build", flush=True)
    began = time.monotonic()
    explore(options.examples, build=BUILDS[options.build], random_seed=seed)
    print(f"nothing was lost or doubled in {options.examples} runs, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
