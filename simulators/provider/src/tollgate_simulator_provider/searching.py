"""What a simulated search of the web finds, and which words of the answer each page stands for. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

QUERIES = ("[simulated] toll of the gate", "[simulated] river road")


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was found; `said` is what it says."""

    url: str
    title: str
    said: str


@dataclass(frozen=True, slots=True)
class Cited:
    """Pieces of an answer, from one to before another, and the page that they are from."""

    begin: int
    end: int
    page: Page


PAGES = (
    Page("https://gates.example/tolls", "Tolls of the gate", "Every cart pays."),
    Page("https://rivers.example/road?way=1", "The river road", "The road meets the river."),
)


def cited(pieces: Sequence[str]) -> tuple[Cited, ...]:
    """Returns the two halves of an answer, each from a page of its own."""
    half = len(pieces) // 2
    spans = ((0, half, PAGES[0]), (half, len(pieces), PAGES[1]))
    return tuple(Cited(begin, end, page) for begin, end, page in spans if begin < end)


def letters(pieces: Sequence[str], one: Cited) -> tuple[int, int]:
    """Returns where cited words begin and end in the text, in letters."""
    return sum(map(len, pieces[: one.begin])), sum(map(len, pieces[: one.end]))
