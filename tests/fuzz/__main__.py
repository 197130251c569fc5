"""`python -m tests.fuzz [--examples N] [--seed S] [--target NAME …]`: tries bad input and prints what breaks.

With `--engine atheris` inputs are mutated by the code that they reach, for `--minutes M` in all or by count; `--keep`
puts those that reach most into the repository.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.fuzz import guided
from tests.fuzz.cases import dump
from tests.fuzz.named import TARGETS
from tests.fuzz.runner import Finding, Target, opened, search

EXAMPLES: Final = 20_000
SEEDED: Final = "seeded"
ATHERIS: Final = "atheris"


def main(arguments: Sequence[str] | None = None, targets: Mapping[str, type[Target]] = TARGETS) -> int:
    """Returns the exit code: 0 nothing broke, 1 something did, 2 there is no atheris."""
    options = _options(arguments, sorted(targets))
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    names = options.target or sorted(targets)
    run = _guided if options.engine == ATHERIS else _seeded
    broken = run(names, targets, options, seed)
    if broken is None:
        return 2
    print(f"{', '.join(broken)} broke" if broken else "nothing broke")
    return 1 if broken else 0


def _options(arguments: Sequence[str] | None, names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument(
        "--examples", type=int, default=EXAMPLES, help=f"Cases of a quick target; slower ones try fewer. {EXAMPLES}."
    )
    parser.add_argument("--seed", type=int, help="Repeats a run; by default another one each time.")
    parser.add_argument("--target", action="append", choices=names, help="Only this one; may be repeated.")
    parser.add_argument("--engine", choices=(SEEDED, ATHERIS), default=SEEDED, help=f"What draws cases. {SEEDED}.")
    parser.add_argument("--minutes", type=float, default=0, help=f"With {ATHERIS}: for so long, all targets together.")
    parser.add_argument("--keep", action="store_true", help=f"With {ATHERIS}: writes tests/fuzz/inputs.")
    return parser.parse_args(arguments)


def _seeded(
    names: Sequence[str], targets: Mapping[str, type[Target]], options: argparse.Namespace, seed: int
) -> list[str] | None:
    broken = []
    for name in names:
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
    return broken


def _guided(
    names: Sequence[str], targets: Mapping[str, type[Target]], options: argparse.Namespace, seed: int
) -> list[str] | None:
    """Returns the targets that broke; None where atheris is not to be had."""
    packages, problem = guided.packages()
    if problem:
        print(f"atheris cannot be installed: {problem}", file=sys.stderr)
        return None
    broken, tried, began = [], 0, time.monotonic()
    seconds = max(1, round(options.minutes * 60 / len(names))) if options.minutes else 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            corpus = Path(folder)
            for number, one in enumerate([*guided.kept_inputs(name), *guided.fresh_inputs(seed)]):
                (corpus / str(number)).write_bytes(one)
            runs = 0 if seconds else max(1, options.examples // targets[name].cost)
            run = guided.fuzz(targets[name], packages, corpus, runs=runs, seconds=seconds, seed=seed)
            tried += run.inputs
            print(f"{name}: {run.inputs} inputs, {run.branches} branches, {run.features} features", flush=True)
            if run.broke:
                broken.append(name)
                print(_indented(run.output[run.output.find("Traceback") :]), flush=True)
            elif options.keep:
                guided.keep(name, guided.smallest(targets[name], packages, corpus))
    took = time.monotonic() - began
    print(f"{tried} inputs in {took:.0f} s, {tried / took:.0f} a second, seed {seed}")
    return broken


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
