"""The kit stays small, and knows no word of the domain: it is plumbing that two services need already."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.tidy.rules.tree import Tree, Violation

KIT = "libs/kit/src/**"
BUDGET_LINES = 3000
DOMAIN = {
    "organization", "project", "tenant", "wallet", "ledger", "price", "prices", "rating", "billing", "budget", "model",
    "models", "media", "image", "images", "invoice", "credit", "quota", "upstream", "completion", "embedding",
}  # fmt: skip
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def check(tree: Tree) -> Iterator[Violation]:
    """Yields what is over the budget, and names that hold a word of the domain."""
    names = [name for name in tree.matching(KIT) if name.endswith(".py")]
    lines = sum(len(tree.text(name).splitlines()) for name in names)
    if lines > BUDGET_LINES:
        yield Violation("libs/kit", 1, f"{lines} lines, at most {BUDGET_LINES}: something belongs into a service")
    for name in names:
        if _domain(PurePosixPath(name).stem):
            yield Violation(name, 1, "its name holds a word of the domain")
        for node in ast.walk(tree.parsed(name)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _domain(node.name):
                yield Violation(name, node.lineno, f"{node.name} holds a word of the domain")


def _domain(name: str) -> bool:
    return any(word.lower() in DOMAIN for word in _WORDS.findall(name))


PLANTED = [
    ({"libs/kit/src/tollgate_kit/a.py": "x = 1\n" * 1501, "libs/kit/src/tollgate_kit/b.py": "x = 1\n" * 1500}, "3001"),
    ({"libs/kit/src/tollgate_kit/wallet_client.py": ""}, "wallet_client.py:1"),
    ({"libs/kit/src/tollgate_kit/a.py": "class LedgerRow:\n    pass\n"}, "LedgerRow"),
    ({"libs/kit/src/tollgate_kit/a.py": "def price_of():\n    pass\n"}, "price_of"),
]
KEPT = [
    {"libs/kit/src/tollgate_kit/spool.py": "class Spool:\n    def append(self):\n        pass\n"},
    {"libs/rating/src/tollgate_rating/price.py": "class Price:\n    pass\n"},
]
