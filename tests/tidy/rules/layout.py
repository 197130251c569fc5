"""The tree has the shape that ARCHITECTURE.md maps: members, services and their files, and what must not be there."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.tidy.rules.tree import Tree, Violation

ROOT_FILES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "GLOSSARY.md", "requirements.lock")
SERVICE_FILES = ("__main__.py", "app.py", "settings.py", "errors.py", "telemetry.py")
MAIN_LINES = 30
CONTRACTS = "libs/contracts/"
# The first column of the code map.
MAPPED = re.compile(r"^\| `([\w./*-]+)` \|", re.MULTILINE)
# Folders whose members stand for them.
SPLIT = {"libs", "services", "simulators"}
PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==")


def check(tree: Tree) -> Iterator[Violation]:
    """Yields files that are missing, too many or in the wrong place."""
    if "pyproject.toml" not in tree.names:
        return
    yield from (Violation(name, 1, "this file is missing") for name in ROOT_FILES if name not in tree.names)
    yield from _workspace(tree)
    yield from _mapped(tree)
    yield from _members(tree)
    for folder in sorted({name.split("/")[1] for name in tree.matching("services/*/pyproject.toml")}):
        yield from _service(tree, folder)


def _workspace(tree: Tree) -> Iterator[Violation]:
    if tree.matching("**/uv.lock"):
        yield Violation("uv.lock", 1, "it writes addresses of registries; requirements.lock pins everything")
    declared = tomllib.loads(tree.text("pyproject.toml"))
    for table in ("project", "build-system"):
        if table in declared:
            yield Violation("pyproject.toml", 1, f"the workspace root is no package, so it has no [{table}]")
    lock = tree.text("requirements.lock").splitlines() if "requirements.lock" in tree.names else []
    for number, line in enumerate(lock, 1):
        found = PINNED.match(line)
        if found and "--hash=" not in " ".join(lock[number - 1 : number + 1]):
            yield Violation("requirements.lock", number, f"{found[1]} has no hash")


def _mapped(tree: Tree) -> Iterator[Violation]:
    """The code map names what is there, each top folder by itself or by its members, and nothing else."""
    mapped = {found.rstrip("/") for found in MAPPED.findall(tree.text("ARCHITECTURE.md"))}
    there = {name.split("/")[0] for name in tree.names if "/" in name}
    for parent in SPLIT & there:
        members = {"/".join(name.split("/")[:2]) for name in tree.matching(f"{parent}/*/**")}
        there = (there - {parent}) | (members if f"{parent}/*" not in mapped else {f"{parent}/*"})
    # Generated, so not among the files that rules look at.
    yield from (Violation("ARCHITECTURE.md", 1, f"the code map lacks {name}") for name in sorted(there - mapped))
    yield from (
        Violation("ARCHITECTURE.md", 1, f"the code map has {name}, which is not there")
        for name in sorted(mapped - there - {CONTRACTS.rstrip("/")})
    )


def _members(tree: Tree) -> Iterator[Violation]:
    """A member's package is called as its folder is; only the stubs live under `tollgate`."""
    for name in tree.matching("*/*/src/*/**", "cli/src/*/**"):
        parts = PurePosixPath(name).parts
        package = parts[parts.index("src") + 1]
        if package == "tollgate":
            yield Violation(
                name, 1, f"`tollgate` is the wire contract; code is `tollgate_…` (stubs are in {CONTRACTS})"
            )
        elif parts[0] in {"libs", "services"} and package != f"tollgate_{parts[1].replace('-', '_')}":
            yield Violation(name, 1, f"the package of {parts[0]}/{parts[1]} is tollgate_{parts[1].replace('-', '_')}")


def _service(tree: Tree, folder: str) -> Iterator[Violation]:
    source = f"services/{folder}/src/tollgate_{folder.replace('-', '_')}"
    for name in (f"services/{folder}/README.md", *(f"{source}/{file}" for file in SERVICE_FILES)):
        if name not in tree.names:
            yield Violation(name, 1, "every service has this file")
    main = f"{source}/__main__.py"
    if main in tree.names and (lines := len(tree.text(main).splitlines())) > MAIN_LINES:
        yield Violation(main, 1, f"{lines} lines, at most {MAIN_LINES}: it loads settings and runs")


_ROOT = dict.fromkeys(ROOT_FILES[:-1], "x\n") | {
    "requirements.lock": "a==1 \\\n    --hash=sha256:0\n",
    "pyproject.toml": "",
}
_SERVICE = {
    "services/a-b/pyproject.toml": "",
    "services/a-b/README.md": "x\n",
    **{f"services/a-b/src/tollgate_a_b/{name}": "x = 1\n" for name in SERVICE_FILES},
}


def _mapping(*names: str) -> dict[str, str]:
    return {"ARCHITECTURE.md": "".join(f"| `{name}` | x |\n" for name in names)}


PLANTED = [
    (_ROOT | {"libs/kit/x": "", "cli/x": ""} | _mapping("cli/"), "the code map lacks libs/kit"),
    (_ROOT | {"cli/x": ""} | _mapping("cli/", "docs/"), "the code map has docs, which is not there"),
    ({name: text for name, text in _ROOT.items() if name != "GLOSSARY.md"}, "GLOSSARY.md:1: this file is missing"),
    (_ROOT | {"uv.lock": ""}, "uv.lock:1"),
    (_ROOT | {"pyproject.toml": '[project]\nname = "x"\n'}, "no [project]"),
    (_ROOT | {"requirements.lock": "a==1\nb==2 \\\n    --hash=sha256:0\n"}, "requirements.lock:1: a has no hash"),
    (_ROOT | {"libs/kit/src/tollgate/x.py": ""}, "is the wire contract"),
    (_ROOT | {"libs/kit/src/tollgate_box/x.py": ""}, "libs/kit is tollgate_kit"),
    (_ROOT | _SERVICE | {"services/c/pyproject.toml": ""}, "services/c/src/tollgate_c/app.py:1: every service"),
    (
        _ROOT | {name: text for name, text in _SERVICE.items() if not name.endswith("/errors.py")},
        "services/a-b/src/tollgate_a_b/errors.py:1: every service",
    ),
    (_ROOT | _SERVICE | {"services/a-b/src/tollgate_a_b/__main__.py": "x = 1\n" * 31}, "31 lines, at most 30"),
]
KEPT = [
    _ROOT
    | _SERVICE
    | {"libs/kit/src/tollgate_kit/x.py": "", "cli/src/tollgate_cli/x.py": ""}
    | _mapping("libs/kit", "services/*", "cli"),
    _ROOT | {"simulators/provider/src/tollgate_simulator_provider/x.py": ""} | _mapping("simulators/provider"),
]
