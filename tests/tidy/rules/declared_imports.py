"""What a member imports is in its pyproject.toml, or in that of a library of ours that it names there.

What comes only with somebody else's package goes when they leave it out.
"""

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from tests.tidy.rules.tree import Tree, Violation

NAME = re.compile(r"[\w.-]+")
# Of namespaces that many distributions share, the one that has what is imported.
NAMESPACES = {"google": "protobuf", "tollgate": "tollgate-contracts", "opentelemetry": "opentelemetry-api"}
# Standard in a Python that is newer than the oldest that is served.
NEWER = {"compression"}


def check(tree: Tree) -> Iterator[Violation]:
    """Yields imports of distributions that nobody of ours declares."""
    declared = {
        _normal(project["name"]): (name.removesuffix("pyproject.toml"), project)
        for name in tree.matching("*/*/pyproject.toml", "cli/pyproject.toml")
        if "name" in (project := tomllib.loads(tree.text(name)).get("project", {}))
    }
    direct = {name: _requirements(project) for name, (_, project) in declared.items()}
    for member, (folder, _) in declared.items():
        ours = {member, *(name for name in direct[member] if name.startswith("tollgate-"))}
        # A library's own libraries bring what they declare; to import them, a member names them.
        reached: set[str] = set()
        waiting = [*ours]
        while waiting:
            if (name := waiting.pop()) not in reached:
                reached |= {name}
                waiting += [found for found in direct.get(name, ()) if found.startswith("tollgate-")]
        theirs = set[str]().union(*(direct.get(name, set()) for name in reached))
        for file in tree.python():
            if file.startswith(f"{folder}src/"):
                for line, module in _imported(tree.parsed(file)):
                    wanted = _distributions(module)
                    if not wanted & (ours if module.startswith("tollgate") else theirs | {member}):
                        yield Violation(file, line, f"{module} is of {min(wanted)}, which {folder} does not declare")


def _requirements(project: dict[str, list[str]]) -> set[str]:
    return {_normal(found[0]) for line in project.get("dependencies", []) if (found := NAME.match(line))}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported(module: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for top in (name.partition(".")[0] for name in names):
            if top not in sys.stdlib_module_names | NEWER:
                yield node.lineno, top


def _distributions(module: str) -> set[str]:
    """Returns the normal names of the distributions that have a top-level module."""
    if module in NAMESPACES:
        return {NAMESPACES[module]}
    return {_normal(name) for name in _installed().get(module, [module])}


@functools.cache
def _installed() -> dict[str, list[str]]:
    return {module: names for module, names in packages_distributions().items() if not module.startswith("tollgate")}


def _member(name: str, *requirements: str) -> str:
    return f'[project]\nname = "{name}"\ndependencies = {list(requirements)}\n'


_KIT = {"libs/kit/pyproject.toml": _member("tollgate-kit", "pyyaml>=6,<7", "tollgate-contracts")}
PLANTED = [
    (
        _KIT | {"libs/kit/src/tollgate_kit/x.py": "import yaml\nimport httpcore\n"},
        "x.py:2: httpcore is of httpcore, which libs/kit/ does not declare",
    ),
    (
        {"cli/pyproject.toml": _member("tollgate-cli"), "cli/src/tollgate_cli/x.py": "def f():\n    import yaml\n"},
        "yaml is of pyyaml, which cli/ does not declare",
    ),
    (
        _KIT
        | {
            "cli/pyproject.toml": _member("tollgate-cli", "tollgate-kit"),
            "cli/src/tollgate_cli/x.py": "from tollgate.events.v1 import usage_pb2\n",
        },
        "tollgate is of tollgate-contracts, which cli/",
    ),
    (
        {"cli/pyproject.toml": _member("tollgate-cli"), "cli/src/tollgate_cli/x.py": "import tollgate_rating\n"},
        "tollgate_rating is of tollgate-rating, which cli/",
    ),
]
KEPT = [
    _KIT
    | {
        "cli/pyproject.toml": _member("tollgate-cli", "tollgate-kit"),
        "cli/src/tollgate_cli/x.py": "import json\nimport yaml\nimport tollgate_kit.clock\nimport tollgate_cli.y\n",
    },
    {"tools/x.py": "import yaml\n"},
]
