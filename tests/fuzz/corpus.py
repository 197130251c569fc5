"""Cases that once failed, and those that are kept because they came close: replayed by `make test`."""

from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.cases import Case, load

FOLDER = Path(__file__).parent / "corpus"


def kept() -> Iterator[tuple[str, Path]]:
    """Yields target and file of every kept case."""
    for path in sorted(FOLDER.glob("*/*.json")):
        yield path.parent.name, path


def read(path: Path) -> Case:
    """Returns a kept case. Raises ValueError."""
    return load(path.read_text(encoding="utf-8"))
