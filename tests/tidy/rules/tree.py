"""The files that a rule looks at, and what it reports. A rule is a module with `check`, `PLANTED` and `KEPT`."""

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

GENERATED = "libs/contracts/src/"


@dataclass(frozen=True, order=True)
class Violation:
    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class Tree:
    """A checkout. Paths are relative to its root, with slashes; generated stubs are left out."""

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root = root
        self.names = [name for name in names if not name.startswith(GENERATED)]

    @classmethod
    def of_git(cls, root: Path) -> "Tree":
        """Returns what is tracked or would be: ignored files are left out, new ones are in."""
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
        return cls(root, sorted({name for name in listed.splitlines() if (root / name).is_file()}))

    @classmethod
    def of_files(cls, root: Path, files: dict[str, str]) -> "Tree":
        """Writes the files below `root` and returns the tree of them."""
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return cls(root, sorted(files))

    def matching(self, *patterns: str) -> list[str]:
        """Returns the names that match one of the patterns, of which `**` spans folders."""
        return [name for name in self.names if any(matches(name, pattern) for pattern in patterns)]

    def python(self) -> list[str]:
        """Returns all Python files."""
        return [name for name in self.names if name.endswith(".py")]

    def sources(self) -> list[str]:
        """Returns the Python files that ship: those below a `src` folder."""
        return [name for name in self.python() if "/src/" in name]

    def text(self, name: str) -> str:
        """Returns a file's text; what is not UTF-8 is replaced."""
        return _read(self.root / name)

    def parsed(self, name: str) -> ast.Module:
        """Returns a Python file's syntax tree; one that does not parse is empty (ruff reports it)."""
        return _parse(self.root / name)


def matches(name: str, pattern: str) -> bool:
    """Tells whether a path matches a pattern of folders, in which `**` stands for any number of them."""
    return _match(PurePosixPath(name).parts, PurePosixPath(pattern).parts)


def _match(parts: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_match(parts[count:], patterns[1:]) for count in range(len(parts) + 1))
    return bool(parts) and PurePosixPath(parts[0]).match(patterns[0]) and _match(parts[1:], patterns[1:])


@functools.cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@functools.cache
def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(_read(path))
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])


def dotted(node: ast.AST) -> str:
    """Returns `a.b.c` of a name or attribute, and "" of anything else; a call counts as what it calls."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    if isinstance(node, ast.Call):
        return dotted(node.func)
    return ""


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yields every node that runs when a module is imported: not bodies of functions, nor annotations."""
    for statement in body:
        yield from _running(statement)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and dotted(node.test.left) == "__name__":
        return
    yield node
    skipped: list[ast.AST] = []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        skipped = [*node.body, *([node.returns] if node.returns else []), node.args]
        for default in [*node.args.defaults, *(value for value in node.args.kw_defaults if value)]:
            yield from _running(default)
    elif isinstance(node, ast.Lambda):
        skipped = [node.body]
    elif isinstance(node, ast.AnnAssign):
        skipped = [node.annotation]
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from _running(child)
