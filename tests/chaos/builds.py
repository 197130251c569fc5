"""Broken builds of billing: a copy of its source with one step taken out. A run of chaos has to find each."""

import shutil
from pathlib import Path
from typing import Final

from tests.servers.process import REPOSITORY

_SOURCE: Final = REPOSITORY / "services" / "billing" / "src"
# File, what is there, and what is there instead.
BUILDS: Final = {
    "no-deduplication": (
        (
            "tollgate_billing/adapters/clickhouse.py",
            '"insert_deduplication_token": token,',
            '"insert_deduplication_token": token + __import__("os").urandom(4).hex(),',
        ),
        ("tollgate_billing/use_cases/record_batch.py", "if batch.resumed and rows:", "if not batch and rows:"),
    ),
    "commit-first": (
        (
            "tollgate_billing/consumers/usage_recorded.py",
            "await self._consumer.commit(intake.claim, intents[0].low, encode_intents(intents))",
            'await self._consumer.commit(intake.claim, intents[-1].high, encode_intents(intents) and "")',
        ),
    ),
}


def make(name: str, directory: Path) -> Path:
    """Writes the source of a broken build below `directory`; returns the path to import from before any other."""
    made = directory / f"build-{name}"
    shutil.copytree(_SOURCE, made)
    for file, found, instead in BUILDS[name]:
        text = (made / file).read_text(encoding="utf-8")
        assert text.count(found) == 1, f"{file} has {found!r} {text.count(found)} times"
        (made / file).write_text(text.replace(found, instead), encoding="utf-8")
    return made
