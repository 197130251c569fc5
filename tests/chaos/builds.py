"""Copies of our own source with something changed.

Broken builds of billing have one step taken out: a run of chaos has to find each. With quick pings a silence of seconds
does what one of a minute does otherwise.
"""

import shutil
from pathlib import Path
from typing import Final

from tests.servers.process import REPOSITORY

_BILLING: Final = REPOSITORY / "services" / "billing" / "src"
_STREAMS: Final = REPOSITORY / "libs" / "streams" / "src"
_Changes = tuple[tuple[str, str, str], ...]
# File, what is there, and what is there instead.
BUILDS: Final[dict[str, _Changes]] = {
    "no-deduplication": (
        (
            "tollgate_billing/adapters/clickhouse.py",
            '"insert_deduplication_token": token,',
            '"insert_deduplication_token": token + __import__("os").urandom(4).hex(),',
        ),
        ("tollgate_billing/use_cases/insert_rows.py", "            if resumed:\n", "            if not bounds:\n"),
    ),
    "commit-first": (
        (
            "tollgate_billing/consumers/usage_recorded.py",
            "await self._consumer.commit(intake.claim, intents[0].low, encode_intents(intents))",
            'await self._consumer.commit(intake.claim, intents[-1].high, encode_intents(intents) and "")',
        ),
    ),
}


# After a second, and a busy machine has five to answer.
_QUICK: Final = (
    ("tollgate_streams/frames.py", "PING_SECONDS: Final = 20.0", "PING_SECONDS: Final = 1.0"),
    ("tollgate_streams/frames.py", "PING_ANSWER_SECONDS: Final = 10.0", "PING_ANSWER_SECONDS: Final = 5.0"),
)


def make(name: str, directory: Path) -> Path:
    """Writes the source of a broken build below `directory`; returns the path to import from before any other."""
    return _copy(_BILLING, directory / f"build-{name}", BUILDS[name])


def quick_pings(directory: Path) -> Path:
    """Writes streams whose ends soon miss each other below `directory`; returns the path to import from."""
    return _copy(_STREAMS, directory / "quick-pings", _QUICK)


def _copy(source: Path, made: Path, changes: _Changes) -> Path:
    shutil.copytree(source, made)
    for file, found, instead in changes:
        text = (made / file).read_text(encoding="utf-8")
        assert text.count(found) == 1, f"{file} has {found!r} {text.count(found)} times"
        (made / file).write_text(text.replace(found, instead), encoding="utf-8")
    return made
