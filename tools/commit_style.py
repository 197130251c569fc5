"""Checks commit messages: `area: Imperative subject`, a body that says why. Run by `make commits`.

Of commits after `START`, tests/tidy checks the subjects: what is older was written without the check and stays.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# The last commit that nobody checked.
START = "7d197effd19d7d7ab1e03b14e81f8b80ec5bd77c"
ROOT = Path(__file__).resolve().parent.parent
SUBJECT = re.compile(r"(?P<area>[a-z][a-z0-9-]*(, [a-z][a-z0-9-]*)*): (?P<verb>[A-Z][a-z-]*)( .*)?")
SUBJECT_LENGTH = 72
BODY_WIDTH = 160
# Words that end like another form of a verb and are imperatives all the same.
IMPERATIVES = {
    "Pass",
    "Process",
    "Address",
    "Embed",
    "Feed",
    "Need",
    "Bring",
    "Speed",
    "Discuss",
    "Compress",
    "Express",
}


def problems(message: str) -> Iterator[str]:
    """Yields what is wrong with a message, one sentence each."""
    subject, _, rest = message.strip("\n").partition("\n")
    yield from subject_problems(subject)
    if len(subject) > SUBJECT_LENGTH:
        yield f"the subject has {len(subject)} characters, at most {SUBJECT_LENGTH}"
    if not rest.strip():
        yield "there is no body that says why"
    elif not rest.startswith("\n"):
        yield "no empty line follows the subject"
    if any(len(line) > BODY_WIDTH for line in rest.splitlines()):
        yield f"a line of the body is longer than {BODY_WIDTH} characters"


def subject_problems(subject: str) -> Iterator[str]:
    """Yields what is wrong with a subject, however long it is."""
    found = SUBJECT.fullmatch(subject)
    if found is None:
        yield "the subject is not `area: Imperative subject`"
    elif found["verb"] not in IMPERATIVES and re.search(r"(ed|ing|[^s]s)$", found["verb"]):
        yield f"{found['verb']!r} is not an imperative"
    if subject.endswith("."):
        yield "the subject ends with a full stop"


def messages(span: str, root: Path = ROOT) -> list[tuple[str, str]]:
    """Returns (short id, message) of the commits in a range, merges left out. Raises CalledProcessError."""
    command = ["git", "log", "--no-merges", "--format=%h%x00%B%x01", span]
    text = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    entries = (entry.strip("\n").partition("\0") for entry in text.split("\x01"))
    return [(short, message) for short, _, message in entries if short]


def bad_subjects(root: Path = ROOT, start: str = START) -> list[str]:
    """Returns what is wrong with subjects after `start`; nothing where the clone has no history so far back."""
    known = subprocess.run(
        ["git", "merge-base", "--is-ancestor", start, "HEAD"], cwd=root, check=False, capture_output=True
    )
    after = messages(f"{start}..HEAD", root) if known.returncode == 0 else []
    return [
        f"{short}: {problem}: {message.splitlines()[0]}"
        for short, message in after
        for problem in subject_problems(message.partition("\n")[0])
    ]


def main() -> int:
    """Checks the range in the first argument, else the last commit; returns the exit code."""
    span = sys.argv[1] if len(sys.argv) > 1 else "-1"
    bad = [f"{short}: {problem}" for short, message in messages(span) for problem in problems(message)]
    for line in bad:
        sys.stderr.write(f"{line}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
