"""`python -m tests.fuzz [--examples N] [--seed S] [--target NAME …]`: tries bad input and prints what breaks."""

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from tests.fuzz.cases import dump
from tests.fuzz.runner import Finding, Target, opened, search
from tests.fuzz.targets import TARGETS

EXAMPLES: Final = 20_000


def main(arguments: Sequence[str] | None = None, targets: Mapping[str, type[Target]] = TARGETS) -> int:
    """Returns the exit code: 0 nothing broke, 1 something did."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument(
        "--examples", type=int, default=EXAMPLES, help=f"Cases of a quick target; slower ones try fewer. {EXAMPLES}."
    )
    parser.add_argument("--seed", type=int, help="Repeats a run; by default another one each time.")
    parser.add_argument("--target", action="append", choices=sorted(targets), help="Only this one; may be repeated.")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    broken: list[str] = []
    for name in options.target or sorted(targets):
        make = targets[name]
        print(f"{name}: {max(1, options.examples // make.cost)} cases, seed {seed}", flush=True)
        began = time.monotonic()
        with opened(make) as target:
            finding = search(target, options.examples, seed)
        if finding is None:
            print(f"  stands, {time.monotonic() - began:.0f} s", flush=True)
        else:
            broken.append(name)
            _report(name, finding, f"--examples {options.examples} --seed {seed} --target {name}")
    print(f"{', '.join(broken)} broke" if broken else "nothing broke")
    return 1 if broken else 0


def _report(name: str, finding: Finding, arguments: str) -> None:
    print(
        f"  BREAKS at case {finding.number}; again by: make fuzz ARGS='{arguments}'\n{_indented(finding.words)}\n"
        f"  The smallest case, for tests/fuzz/corpus/{name}/:\n{_indented(dump(finding.case))}",
        flush=True,
    )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
