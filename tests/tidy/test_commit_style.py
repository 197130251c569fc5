"""The check of commit messages accepts the house style and finds what departs from it."""

import pytest
from tools.commit_style import messages, problems

pytestmark = pytest.mark.tidy

GOOD = "rating: Round once at the end\n\nThree lines of half a unit were zero; measured on the sample book.\n"


@pytest.mark.parametrize(
    "message", [GOOD, GOOD.replace("rating:", "edge, media-jobs:"), GOOD.replace("Round", "Process")]
)
def test_the_house_style_is_accepted(message):
    assert list(problems(message)) == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (GOOD.replace("rating: ", ""), "area: Imperative"),
        (GOOD.replace("Round", "round"), "area: Imperative"),
        (GOOD.replace("Round", "Rounded"), "not an imperative"),
        (GOOD.replace("Round", "Rounds"), "not an imperative"),
        (GOOD.replace("Round", "Rounding"), "not an imperative"),
        (GOOD.replace("the end", "the end " * 10), "characters"),
        (GOOD.replace("the end\n", "the end.\n"), "full stop"),
        (GOOD.partition("\n")[0], "no body"),
        (GOOD.replace("\n\n", "\n"), "no empty line"),
        (GOOD.replace("Three", "Three " * 40), "longer than"),
    ],
)
def test_what_departs_from_it_is_found(message, expected):
    assert any(expected in problem for problem in problems(message))


def test_messages_of_a_range_are_read():
    ((short, message),) = messages("-1")
    assert len(short) >= 7
    assert message.strip()
