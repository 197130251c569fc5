"""What `tollgate up` says: progress, the values somebody needs, and what to do when it does not start."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from tollgate_cli.supervisor.journal import Journal
from tollgate_cli.supervisor.watch import Watch

HINTS = (
    ("ModuleNotFoundError", "Packages are missing. Run `make install`."),
    ("No space left", "The disk is full. Make room, or pass another --home."),
    ("Permission denied", "The home cannot be written. Pass one that belongs to you with --home."),
    ("database is locked", "Another process has the database open. Stop it, or pass another --home."),
    ("Can't locate revision", "The state is of a newer version. Update the checkout, or pass another --home."),
)


class Speaker:
    """Says things: progress on the error stream, results on the output."""

    def __init__(self, out: TextIO, err: TextIO, command: Callable[[str], str], *, as_json: bool, colour: bool) -> None:
        self._out = out
        self._err = err
        self._command = command
        self._as_json = as_json
        self._colour = colour
        self.journal: Journal | None = None
        self.watch: Watch | None = None
        self.logs = Path()

    def progress(self, line: str) -> None:
        """Says what goes on."""
        self._err.write(f"\x1b[2m· {line}\x1b[0m\n" if self._colour else f"· {line}\n")
        self._err.flush()

    def problem(self, text: str) -> None:
        """Says what went wrong and what to do."""
        self._err.write(f"\x1b[31m{text}\x1b[0m\n" if self._colour else f"{text}\n")
        self._err.flush()

    def ready(self, document: dict[str, Any], model: str, *, simulated: bool) -> None:
        """Says that the product serves, and how to use it."""
        if self._as_json:
            self._out.write(json.dumps(document) + "\n")
        else:
            self._out.write(welcome(document, model, self._command, simulated=simulated))
        self._out.flush()

    def restarted(self, name: str, how: str) -> None:
        """Says that a process ended by itself and starts again."""
        self.progress(f"{name} ended with {how}; starting it again")

    def failed(self, name: str, how: str) -> None:
        """Says why the product does not start, with the last lines of the process."""
        lines = self.journal.tail(name) if self.journal else []
        shown = "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"
        hint = next((text for mark, text in HINTS if any(mark in line for line in lines)), None)
        self.problem(
            f"Tollgate could not start: {name} ended with {how}.\nIts last lines, from {self.logs / name}.log:\n"
            f"{shown}\nWhat to do: {hint or 'Mend what the lines say and start again.'}"
        )

    def stopping(self) -> None:
        """Says that the stop begins, and what was missing when it comes before the product served."""
        if self.watch is not None and self.watch.finished and not self.watch.succeeded:
            missing = "".join(f"    {name}: {reason}\n" for name, reason in self.watch.missing.items())
            self.problem(f"Tollgate could not start in time. What is missing:\n{missing}Logs: {self.logs}")
        self.progress("stopping")


def command_for(home: Path, default: Path, interpreter: str, search_path: str, directory: Path) -> Callable[[str], str]:
    """Returns what makes of a command's name the line that a shell in `directory` takes for this home's product.

    The program is the one beside the interpreter, by its name alone where `search_path` leads to it, or where there is
    none.
    """
    program = Path(interpreter).with_name("tollgate")
    called = "tollgate"
    if program.exists() and shutil.which("tollgate", path=search_path) != str(program):
        called = str(program.relative_to(directory) if program.is_relative_to(directory) else program)
    which = [] if home == default else ["--home", str(home)]
    return lambda name: shlex.join([called, name, *which])


def welcome(document: dict[str, Any], model: str, command: Callable[[str], str], *, simulated: bool) -> str:
    """Returns the text for a product that serves; `command` makes a line for the shell of a command's name."""
    base = document["base_url"]
    lines = [
        "",
        "Tollgate is up."
        + (" A simulated provider answers; set OPENAI_API_KEY or another to use a real one." * simulated),
        "",
        f"  Base URL   {base}",
        f"  API key    {document['api_key'] or 'none yet: docs/guides/organizations.md leads to one'}",
        f"  Console    {document['console_url']}  (a page of links until there is a console)",
        "",
    ]
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "Say hello"}]})
    key = document["api_key"] or "YOUR_KEY"
    curl = ["curl", "-N", f"{base}/chat/completions", "-H", f"Authorization: Bearer {key}"]
    curl += ["-H", "Content-Type: application/json", "-d", body]
    lines += ["Try it:", "", "  " + " ".join(shlex.quote(word) for word in curl), ""]
    check, spent = command("doctor"), command("usage")
    lines += [f"Ctrl-C stops everything. `{check}` checks it, `{spent}` shows what was spent.", ""]
    return "\n".join(lines)
