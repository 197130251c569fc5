"""Every setting of a service has a description, and the reference names its variable."""

import ast
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation, dotted

REFERENCE = "docs/reference/*.md"


def check(tree: Tree) -> Iterator[Violation]:
    """Yields settings without a description and variables that no reference page names."""
    reference = "\n".join(tree.text(name) for name in tree.matching(REFERENCE))
    for name in tree.sources():
        if not name.endswith("/settings.py"):
            continue
        for node in tree.parsed(name).body:
            if isinstance(node, ast.ClassDef) and any(dotted(parent).endswith("Settings") for parent in node.bases):
                prefix = _prefix(node)
                for field, line, described in _fields(node):
                    if not described:
                        yield Violation(name, line, f"{node.name}.{field} has no description")
                    if prefix and f"{prefix}{field.upper()}" not in reference:
                        yield Violation(name, line, f"no page of {REFERENCE} names {prefix}{field.upper()}")


def _prefix(node: ast.ClassDef) -> str:
    for inner in ast.walk(node):
        if isinstance(inner, ast.keyword) and inner.arg == "env_prefix" and isinstance(inner.value, ast.Constant):
            return str(inner.value.value)
    return ""


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, int, bool]]:
    following = [*node.body[1:], None]
    for statement, after in zip(node.body, following, strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            if (
                dotted(
                    statement.annotation.value
                    if isinstance(statement.annotation, ast.Subscript)
                    else statement.annotation
                )
                == "ClassVar"
            ):
                continue
            described = any(
                isinstance(inner, ast.keyword) and inner.arg == "description" for inner in ast.walk(statement)
            )
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            yield statement.target.id, statement.lineno, described or is_text


_HEAD = 'class A(ServiceSettings):\n    model_config = SettingsConfigDict(env_prefix="TOLLGATE_A_")\n'

PLANTED = [
    (
        {"a/src/a/settings.py": _HEAD + "    port: int = 1\n", "docs/reference/s.md": "TOLLGATE_A_PORT"},
        "no description",
    ),
    ({"a/src/a/settings.py": _HEAD + '    port: int = Field(1, description="Port.")\n'}, "TOLLGATE_A_PORT"),
]
KEPT = [
    {
        "a/src/a/settings.py": _HEAD
        + '    port: int = Field(1, description="Port.")\n    host: str = ""\n    """Host."""\n',
        "docs/reference/s.md": "`TOLLGATE_A_PORT` and `TOLLGATE_A_HOST`",
    }
]
