"""Comments are sentences: the last line of a comment on its own line ends with a full stop. Nothing waits in a TODO."""

import io
import re
import tokenize
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation

DIRECTIVE = re.compile(r"#\s*(!|noqa|type:|fmt:|pragma|ruff:|mypy:|pyright:|isort:|nosec|-{3,}|syntax=|-\*-)")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
ENDINGS = (".", "?", "!", ":", "…", "`.", "。")


def check(tree: Tree) -> Iterator[Violation]:
    """Yields comments that stop without a stop, and those that put work off."""
    for name in tree.python():
        block: list[tuple[int, str]] = []
        for line, text in _comments(tree.text(name)):
            if UNFINISHED.search(text):
                yield Violation(name, line, "work that is put off belongs into an issue")
            if block and line != block[-1][0] + 1:
                yield from _judge(name, block)
                block = []
            block.append((line, text))
        yield from _judge(name, block)


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Yields comments that have their line for themselves, directives left out."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            alone = token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip()
            if alone and not DIRECTIVE.match(token.string):
                yield token.start[0], token.string.strip()
    except (tokenize.TokenError, SyntaxError):
        return


def _judge(name: str, block: list[tuple[int, str]]) -> Iterator[Violation]:
    if block and block[-1][1].strip("# ") and not block[-1][1].endswith(ENDINGS):
        yield Violation(name, block[-1][0], f"the comment does not end with a full stop: {block[-1][1][:60]}")


_LATER = "TO" + "DO"

PLANTED = [
    ({"a.py": "# Why this is so\nx = 1\n"}, "a.py:1"),
    ({"a.py": "x = 1\n# One sentence.\n# Another that goes on\n# and never ends\ny = 2\n"}, "a.py:4"),
    ({"a.py": f"# {_LATER}: later.\n"}, "put off"),
]
KEPT = [
    {"a.py": "#!/usr/bin/env python\n# Why\n# this is so.\nx = 1  # no sentence\n# noqa: E501\n# fmt: off\n"},
    {"a.py": 'x = """\n# not a comment\n"""\n'},
]
