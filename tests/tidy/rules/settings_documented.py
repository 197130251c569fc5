"""Every setting has a description and, where it measures something, its unit in its name; the reference names it."""

import ast
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation, dotted

REFERENCE = "docs/reference/*.md"
# What a number with a fraction measures, and words after which a whole number needs one of these too.
UNITS = ("_seconds", "_ms", "_ratio")
TIMED = {"timeout", "age", "delay", "pause", "interval", "ttl", "wait", "lease", "deadline", "idle", "grace", "silence"}
SIZED = {"memory", "disk", "body", "header"}


def check(tree: Tree) -> Iterator[Violation]:
    """Yields settings without a description and variables that no reference page names."""
    reference = "\n".join(tree.text(name) for name in tree.matching(REFERENCE))
    for name in tree.sources():
        if not name.endswith("/settings.py"):
            continue
        for node in tree.parsed(name).body:
            if isinstance(node, ast.ClassDef) and any(dotted(parent).endswith("Settings") for parent in node.bases):
                prefix = _prefix(node)
                for field, line, kind in _numbers(node):
                    if problem := _unit_problem(field, kind):
                        yield Violation(name, line, f"{node.name}.{field} {problem}")
                for field, line, described in _fields(node):
                    if not described:
                        yield Violation(name, line, f"{node.name}.{field} has no description")
                    if prefix and f"{prefix}{field.upper()}" not in reference:
                        yield Violation(name, line, f"no page of {REFERENCE} names {prefix}{field.upper()}")


def _numbers(node: ast.ClassDef) -> Iterator[tuple[str, int, str]]:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            kind = ast.unparse(statement.annotation)
            if kind in {"int", "float"}:
                yield statement.target.id, statement.lineno, kind


def _unit_problem(field: str, kind: str) -> str:
    words = set(field.split("_"))
    if (kind == "float" or words & TIMED) and not field.endswith(UNITS):
        return f"does not end with its unit: {', '.join(UNITS)}"
    if words & SIZED and not field.endswith(("_bytes", "_count", *UNITS)):
        return "does not end with its unit: _bytes, _count"
    return ""


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

_DESCRIBED = '    {} = Field(default=1, description="D.")\n'
_TEXT = "TOLLGATE_A_WAIT TOLLGATE_A_SHARE TOLLGATE_A_IDLE TOLLGATE_A_MAX_BODY TOLLGATE_A_WAIT_SECONDS TOLLGATE_A_TRIES"
REFERENCE_FILE = "docs/reference/s.md"

PLANTED = [
    ({"a/src/a/settings.py": _HEAD + _DESCRIBED.format("wait: float"), REFERENCE_FILE: _TEXT}, "A.wait does not end"),
    ({"a/src/a/settings.py": _HEAD + _DESCRIBED.format("share: float"), REFERENCE_FILE: _TEXT}, "A.share does not end"),
    ({"a/src/a/settings.py": _HEAD + _DESCRIBED.format("idle: int"), REFERENCE_FILE: _TEXT}, "A.idle does not end"),
    ({"a/src/a/settings.py": _HEAD + _DESCRIBED.format("max_body: int"), REFERENCE_FILE: _TEXT}, "_bytes, _count"),
    (
        {"a/src/a/settings.py": _HEAD + "    port: int = 1\n", "docs/reference/s.md": "TOLLGATE_A_PORT"},
        "no description",
    ),
    ({"a/src/a/settings.py": _HEAD + '    port: int = Field(1, description="Port.")\n'}, "TOLLGATE_A_PORT"),
]
KEPT = [
    {"a/src/a/settings.py": _HEAD + _DESCRIBED.format("wait_seconds: float"), REFERENCE_FILE: _TEXT},
    {"a/src/a/settings.py": _HEAD + _DESCRIBED.format("tries: int"), REFERENCE_FILE: _TEXT},
    {
        "a/src/a/settings.py": _HEAD
        + '    port: int = Field(1, description="Port.")\n    host: str = ""\n    """Host."""\n',
        "docs/reference/s.md": "`TOLLGATE_A_PORT` and `TOLLGATE_A_HOST`",
    },
]
