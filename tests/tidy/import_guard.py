"""Imports every module below the given source roots and prints what they did, as JSON. Run by test_imports.py.

Only what our own module-level code does counts: an event whose nearest frames are an import of somebody else's module
is theirs.
"""

import importlib
import json
import os
import sys
import threading
from pathlib import Path
from types import FrameType

EVENTS = {
    "open": "open",
    "socket.bind": "socket",
    "socket.connect": "socket",
    "socket.getaddrinfo": "socket",
    "subprocess.Popen": "subprocess",
    "os.system": "subprocess",
    "os.mkdir": "mkdir",
    "os.putenv": "environ",
    "sqlite3.connect": "sqlite3",
}


class Guard:
    def __init__(self, roots: list[Path]) -> None:
        self.roots = tuple(f"{root}{os.sep}" for root in roots)
        self.seen: set[str] = set()
        self.active = False

    def note(self, event: str) -> None:
        """Keeps the event when a module of ours is what runs, and not an import or a library that it began.

        The standard library does what it is told, so that its frames are passed over. A library that reads its own
        switches while our classes are made is not our doing; making its clients is found by the rule on syntax trees.
        """
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and self.active:
            name = frame.f_code.co_filename
            if "importlib" in name or "site-packages" in name:
                return
            if name.startswith(self.roots):
                self.seen.add(f"{name}:{frame.f_lineno}: {event}")
                return
            frame = frame.f_back

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        """Sees what the interpreter reports."""
        del arguments
        if event in EVENTS:
            self.note(EVENTS[event])


def modules(root: Path) -> list[str]:
    """Returns the dotted names of the modules below a source root, without scripts (`__main__`, migrations)."""
    names = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] == "__main__" or "migrations" in parts:
            continue
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def watch_environment(guard: Guard) -> None:
    """Reports reads of the environment."""
    kind = type(os.environ)

    class Watched(kind):  # type: ignore[valid-type, misc]
        def __getitem__(self, key: str) -> str:
            guard.note(f"environ {key}")
            return super().__getitem__(key)

    os.environ.__class__ = Watched


def watch_threads(guard: Guard) -> None:
    """Reports threads that are started."""
    start = threading.Thread.start

    def started(self: threading.Thread) -> None:
        guard.note("thread")
        start(self)

    threading.Thread.start = started  # type: ignore[method-assign]


def main() -> int:
    """Imports everything; returns the exit code."""
    roots = [Path(name).resolve() for name in sys.argv[1:]]
    guard = Guard(roots)
    sys.addaudithook(guard.audit)
    watch_environment(guard)
    watch_threads(guard)
    names = [name for root in roots for name in modules(root)]
    sys.path[:0] = [str(root) for root in roots]
    guard.active = True
    for name in names:
        importlib.import_module(name)
    guard.active = False
    print(json.dumps({"modules": len(names), "events": sorted(guard.seen)}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
