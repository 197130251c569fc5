"""What `tollgate up` says: progress, the values somebody needs, and what to do when it does not start."""

import json
import shlex
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

    def __init__(self, out: TextIO, err: TextIO, *, as_json: bool, colour: bool) -> None:
        self._out = out
        self._err = err
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
            self._out.write(welcome(document, model, simulated=simulated))
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


def welcome(document: dict[str, Any], model: str, *, simulated: bool) -> str:
    """Returns the text for a product that serves."""
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
    command = ["curl", "-N", f"{base}/chat/completions", "-H", f"Authorization: Bearer {key}"]
    command += ["-H", "Content-Type: application/json", "-d", body]
    lines += ["Try it:", "", "  " + " ".join(shlex.quote(word) for word in command), ""]
    lines += ["Ctrl-C stops everything. `tollgate doctor` checks it, `tollgate usage` shows what was spent.", ""]
    return "\n".join(lines)
