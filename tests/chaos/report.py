"""The report of chaos runs: a JSON file that each run adds itself to, and the table of docs/reference/chaos.md."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.chaos.rounds import Round
from tests.servers.process import REPOSITORY

RUNS: Final = REPOSITORY / "tests" / "chaos" / "runs.json"
PAGE: Final = REPOSITORY / "docs" / "reference" / "chaos.md"
BEGIN: Final = "<!-- Written by `python -m tests.chaos.report`. -->"
END: Final = "<!-- The end of what is written. -->"
_OWN: Final = ("edge", "router", "billing", "media-jobs")
_COLUMNS: Final = (
    *("profile", "build", "commit", "ended", "workers", "seed", "rounds", "killed", "requests", "events"),
    *("charged, pico-units", "result"),
)
_SERVICES: Final = (*_OWN, "valkey", "simulator", "supervisor", "postgresql", "kafka", "clickhouse")


class Run:
    """Counts what a run does."""

    def __init__(self, seed: int, first: int, arguments: str, build: str, profile: str) -> None:
        self._about = {"seed": seed, "first": first, "arguments": arguments, "build": build, "profile": profile}
        self.rounds = 0
        self._kills: Counter[str] = Counter()
        self._accidents: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()

    def add(self, found: Round) -> None:
        """Counts a round that added up."""
        self.rounds += 1
        self._kills += found.kills
        self._accidents.update(one.kind for one in found.accidents)
        self._sums["requests"] += len(found.answers)
        self._sums["answered"] += sum(answer.answered for answer in found.answers)
        self._sums["events"] += sum(row["kind"] == "usage" for row in found.books.rows)
        self._sums["charged_pico"] += found.books.spent_pico

    def entry(self, result: str, seconds: float, *, found: str, commit: str, ended: datetime) -> dict[str, Any]:
        """Returns what the report keeps of the run; `found` is what did not add up, or nothing."""
        return {
            **self._about,
            "commit": commit,
            "ended": f"{ended:%Y-%m-%dT%H:%MZ}",
            "rounds": self.rounds,
            "kills": {name: self._kills[name] for name in _SERVICES},
            "accidents": dict(sorted(self._accidents.items())),
            **{name: self._sums[name] for name in ("requests", "answered", "events", "charged_pico")},
            "seconds": round(seconds),
            "result": result,
            "found": found[:200],
        }


def keep(entry: Mapping[str, Any], file: Path) -> None:
    """Adds a run to the report."""
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    file.write_text(json.dumps([*found, dict(entry)], indent=2) + "\n", encoding="utf-8")


def render(runs: Sequence[Mapping[str, Any]]) -> str:
    """Returns the part of the page that the runs make."""
    sound = [run for run in runs if run["build"] == "sound"]
    kills: Counter[str] = Counter()
    for run in sound:
        kills.update(run["kills"])
    total = {name: sum(run[name] for run in sound) for name in ("rounds", "requests", "events", "seconds")}
    failed = [run for run in sound if run["result"] != "adds up"]
    verdict = "every one adds up" if not failed else f"{len(failed)} do not add up"
    lines = [
        f"{len(sound)} runs of {total['rounds']} rounds in {total['seconds'] // 60} minutes; {verdict}.",
        f"{kills.total():,} processes were killed: {', '.join(f'{name} {kills[name]}' for name in _SERVICES)}.",
        f"{total['requests']:,} requests were sent meanwhile, of which came {total['events']:,} usage events.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"{'|---' * len(_COLUMNS)}|",
    ]
    for run in runs:
        cells = [run.get("profile", "embedded"), run["build"]]
        # Said first, and always.
        workers = run["arguments"].split()[1]
        cells += [run.get("commit", ""), run.get("ended", ""), workers, run["seed"]]
        cells += [run["rounds"], sum(run["kills"].values())]
        found = run.get("found", "").replace("|", "/").replace("\n", " ")
        result = f"{run['result']}: {found}" if found else run["result"]
        cells += [run["requests"], run["events"], run["charged_pico"], result]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def put_in(page: str, part: str) -> str:
    """Returns the page with its part between the marks replaced."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Writes the page."""
    runs = json.loads(RUNS.read_text(encoding="utf-8"))
    PAGE.write_text(put_in(PAGE.read_text(encoding="utf-8"), render(runs)), encoding="utf-8")


if __name__ == "__main__":
    main()
