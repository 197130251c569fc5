"""Installs one service into a directory of its own, from the lock: what the Dockerfiles run.

The lock covers the whole workspace, tests included; an image takes from it only what its service needs. uv is asked
which names those are, and the blocks of requirements.lock with these names are what is installed, hashes checked.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_OWN = "tollgate-"
# What builds our own wheels: uv, the build back end and what that needs.
_BUILDERS = ("hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers", "uv")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


def name_of(requirement: str) -> str:
    """Returns the normalized distribution name that `requirement` begins with. Raises ValueError when there is none."""
    found = _NAME.match(requirement)
    if found is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def lock_blocks(lock: str, names: Iterable[str]) -> str:
    """Returns the blocks of the lock's text that pin `names`. Raises KeyError with the names the lock does not have."""
    blocks: dict[str, list[str]] = {}
    for block in re.split(r"\n(?=[^\s#])", "\n" + lock):
        if _NAME.match(block):
            blocks.setdefault(name_of(block), []).append(block.rstrip())
    wanted = sorted(set(names))
    missing = [name for name in wanted if name not in blocks]
    if missing:
        raise KeyError(", ".join(missing))
    return "\n".join(block for name in wanted for block in blocks[name]) + "\n"


def members_of(member: str, root: Path = ROOT) -> list[Path]:
    """Returns the folders of `member` (as "services/edge") and of every workspace member it needs, itself last."""
    folders = {
        tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]: path.parent
        for path in sorted(root.glob("*/*/pyproject.toml"))
    }
    found: list[Path] = []

    def visit(folder: Path) -> None:
        if folder in found:
            return
        for line in _dependencies(folder):
            if name_of(line).startswith(_OWN):
                visit(folders[name_of(line)])
        found.append(folder)

    visit(root / member)
    return found


def _dependencies(folder: Path) -> list[str]:
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [str(line) for line in project["dependencies"]]


def third_party(folders: Iterable[Path], without: Sequence[str]) -> list[str]:
    """Returns the sorted third-party requirement lines of `folders`, those named in `without` left out."""
    lines = {line for folder in folders for line in _dependencies(folder)}
    return sorted(line for line in lines if not name_of(line).startswith(_OWN) and name_of(line) not in without)


def _uv(*arguments: str, text: str | None = None) -> str:
    command = [sys.executable, "-m", "uv", *arguments]
    return subprocess.run(command, input=text, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout


def service_lock(member: str, without: Sequence[str]) -> str:
    """Returns the part of requirements.lock that `member` needs. Asks the package index for metadata."""
    wanted = "\n".join(third_party(members_of(member), without))
    compiled = _uv(
        "pip", "compile", "-", "--quiet", "--universal", "--no-header", "--no-annotate",
        "--constraint", "requirements.lock", "--python-version", "3.11", text=wanted,
    )  # fmt: skip
    names = [name_of(line) for line in compiled.splitlines() if _NAME.match(line)]
    return lock_blocks((ROOT / "requirements.lock").read_text(encoding="utf-8"), names)


def install_locked(member: str, target: Path, without: Sequence[str]) -> None:
    """Makes a virtual environment at `target` and installs the third-party packages of `member` into it."""
    with tempfile.TemporaryDirectory() as scratch:
        lock = Path(scratch, "service.lock")
        lock.write_text(service_lock(member, without), encoding="utf-8")
        _uv("venv", "--quiet", str(target), "--python", sys.executable)
        _uv("pip", "sync", "--quiet", "--require-hashes", "--python", str(target), str(lock))


def install_members(member: str, target: Path) -> None:
    """Builds `member` and the workspace members it needs as wheels and installs them into `target`, nothing else."""
    with tempfile.TemporaryDirectory() as wheels:
        for folder in members_of(member):
            command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", wheels]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        built = sorted(str(path) for path in Path(wheels).glob("*.whl"))
        _uv("pip", "install", "--quiet", "--no-deps", "--python", str(target), *built)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one step; returns 0 when it is done."""
    parser = argparse.ArgumentParser(prog="python -m tools.image", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("builders", help="print the part of the lock that the other two steps need")
    for step in ("locked", "members"):
        command = steps.add_parser(step, help=f"install the {step} packages of a member into a directory")
        command.add_argument("member", help="for example services/edge")
        command.add_argument("target", type=Path)
        command.add_argument("--without", action="append", default=[], help="a package that the image does without")
    options = parser.parse_args(arguments)
    if options.step == "builders":
        sys.stdout.write(lock_blocks((ROOT / "requirements.lock").read_text(encoding="utf-8"), _BUILDERS))
    elif options.step == "locked":
        install_locked(options.member, options.target, options.without)
    else:
        install_members(options.member, options.target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
