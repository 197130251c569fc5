"""The gateways of peers.yaml: what they are, whether they are here, and how they are got."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
# Ignored by git; `make clean` takes it away.
INSTALLED = ROOT / ".cache" / "peers"


class CannotGet(Exception):  # noqa: N818 - a state of the machine.
    """A peer cannot be installed here; says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """See peers.yaml for the fields."""

    name: str
    title: str
    get: str
    how: str = ""
    program: str = ""
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    events: int = 0
    share: float = 1.0
    says: str = ""
    alone: bool = False

    @property
    def home(self) -> Path:
        """Where it is installed."""
        return INSTALLED / self.name

    @property
    def is_here(self) -> bool:
        """Tells whether it can be run."""
        return bool(self.program) and (self.home / self.program).is_file()

    @property
    def advice(self) -> str:
        """Says how to get it."""
        return self.how or f"make bench-peers ARGS='--get {self.name}'"


def load_peers() -> list[Peer]:
    """Returns the declared peers, in the order of the file."""
    found = yaml.safe_load((FOLDER / "peers.yaml").read_text(encoding="utf-8"))["peers"]
    return [Peer(**entry) for entry in found]


def get(peer: Peer) -> None:
    """Installs a peer from its lock, outside of our own environment. Raises CannotGet."""
    if peer.get == "none":
        raise CannotGet(f"{peer.name} is in no registry: {peer.how}")
    shutil.rmtree(peer.home, ignore_errors=True)
    peer.home.mkdir(parents=True)
    steps = _pip_steps(peer) if peer.get == "pip" else _npm_steps(peer)
    for step in steps:
        try:
            done = subprocess.run(step, cwd=peer.home, capture_output=True, text=True, env=_plain(), check=False)
        except FileNotFoundError:
            raise CannotGet(f"{peer.name} needs {step[0]}, which is not installed") from None
        if done.returncode:
            raise CannotGet(f"{peer.name}: {Path(step[0]).name} failed: {(done.stderr or done.stdout).strip()[-500:]}")


def _pip_steps(peer: Peer) -> list[list[str]]:
    lock = FOLDER / "locks" / f"{peer.name}.txt"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    into = ["--python", str(peer.home / "bin" / "python")]
    return [
        [*uv, "venv", "--allow-existing", "--python", sys.executable, str(peer.home)],
        [*uv, "pip", "install", *into, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)],
    ]


def _npm_steps(peer: Peer) -> list[list[str]]:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(FOLDER / "locks" / peer.name / name, peer.home / name)
    return [["npm", "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]]


def _plain() -> dict[str, str]:
    """Returns the environment without keys and tokens: what is installed here is not ours."""
    secret = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
    return {name: value for name, value in os.environ.items() if not name.upper().endswith(secret)}
