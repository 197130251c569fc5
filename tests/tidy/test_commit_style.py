"""The check of commit messages accepts the house style and finds what departs from it."""

import subprocess

import pytest
from tools.commit_style import bad_subjects, messages, problems

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


def test_subjects_are_in_style_since_they_are_checked():
    assert bad_subjects() == []


def test_a_bad_subject_after_the_first_that_is_checked_is_found(tmp_path):
    def git(*arguments):
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    def commit(subject):
        git("commit", "--allow-empty", "-q", "-m", subject)
        return git("rev-parse", "HEAD")

    git("init", "-q")
    start = commit("before anybody looked")
    commit("edge: Keep keys")
    assert bad_subjects(tmp_path, start) == []
    short = commit("wip")[:7]
    assert [line.partition(":")[0] for line in bad_subjects(tmp_path, start)] == [short]
    # A clone that lacks the commit says nothing.
    assert bad_subjects(tmp_path, "0" * 40) == []
