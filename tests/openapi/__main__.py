"""`python -m tests.openapi [--examples N] [--seed S]`: a product of its own, asked what its description allows."""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.integration.product import Product
from tests.openapi.run import check, program

EXAMPLES: Final = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 all replies are as described, 1 some are not, 2 there is no schemathesis."""
    parser = argparse.ArgumentParser(prog="openapi", description=__doc__)
    parser.add_argument("--examples", type=int, default=EXAMPLES, help=f"Requests drawn for an operation. {EXAMPLES}.")
    parser.add_argument("--seed", type=int, help="Repeats a run; by default another one each time.")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    if problem := program()[1]:
        print(f"schemathesis cannot be installed: {problem}", file=sys.stderr)
        return 2
    bounds = ("--phases", "examples,coverage,fuzzing", "--max-examples", str(options.examples), "--seed", str(seed))
    directory = Path(tempfile.mkdtemp(prefix="tollgate-openapi-"))
    product = Product(directory)
    broken = False
    try:
        product.start()
        for whose, key in (("an API key", product.api_key), ("an access token", product.admin_key)):
            said = check(product.url, key, directory, bounds)
            print(f"with {whose}, seed {seed}: {'BREAKS' if said else 'stands'}\n{said}", flush=True)
            broken = broken or bool(said)
    finally:
        product.stop()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
