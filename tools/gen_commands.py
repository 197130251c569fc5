"""Writes docs/reference/commands.md from the help of the commands. Run by `make commands`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from tollgate_cli.main import build

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "commands.md"
WIDTH = 100
HEAD = """# Commands

`make up` installs the command as `.venv/bin/tollgate`.
`. .venv/bin/activate` makes it `tollgate` in your shell, as the pages call it.
Every command has `--help` with examples, and `--json` for scripts; with `--json`, errors are JSON on standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | refused or failed: the message says why, and what to do |
| 2 | wrong usage: an option, an argument, or a file that cannot be read |
| 3 | the product is not reachable |

How a command finds the product, the first that is there:

| what | meaning |
|---|---|
| `--home DIR` | The state of a product that `tollgate up` started here, whose ready file has address and token. |
| `TOLLGATE_URL` and `TOLLGATE_TOKEN` | Address and an access token (`pat-tg-…`) of any product. |
| `TOLLGATE_HOME` | As `--home`. |
| `.tollgate` | Of the checkout that the command was installed from, else of the directory. |

`TOLLGATE_API_KEY` is the key that `doctor` and `client` ask with.
This page is written by `make commands` from the code.
"""


def commands(command: Any, parent: Any = None, name: str = "tollgate") -> Iterator[tuple[str, str]]:
    """Yields the whole name and the help of every command below one; of a group only where it does something itself."""
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = command.context_class(command, info_name=name, parent=parent, **settings)
    inner = command.list_commands(context) if hasattr(command, "list_commands") else []
    if not inner or command.invoke_without_command:
        yield context.command_path, command.get_help(context)
    for one in inner:
        yield from commands(command.get_command(context, one), context, one)


def all_commands() -> list[tuple[str, str]]:
    """Returns the whole name and the help of every command."""
    return list(commands(typer.main.get_command(build())))


def render() -> str:
    """Returns the page."""
    parts = [HEAD]
    for path, text in all_commands():
        lines = "\n".join(line.rstrip() for line in text.splitlines())
        parts.append(f"\n## `{path}`\n\n```\n{lines}\n```\n")
    return "".join(parts)


def main() -> int:
    """Writes the page; returns the exit code."""
    PAGE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
