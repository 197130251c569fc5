"""What commands print: JSON for scripts, tables for people."""

import json
import sys
from collections.abc import Iterable, Sequence

from tollgate_cli.errors import Failure

WIDEST = 1000


def print_json(value: object) -> None:
    """Prints a value as one document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()) -> None:
    """Prints rows under headings; columns named in `numbers` are aligned to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=True)
    for row in rows:
        table.add_row(*[_text(cell) for cell in row])
    # A cell that is cut off is of no use: rows may be longer than the screen.
    Console(highlight=False, markup=False, width=WIDEST).print(table, soft_wrap=True)


def _text(cell: object) -> str:
    if cell is None:
        return ""
    return ", ".join(str(one) for one in cell) if isinstance(cell, list) else str(cell)


def print_failure(failure: Failure, *, as_json: bool) -> None:
    """Prints why a command failed; nothing where the command has said all itself, and its message is empty."""
    if not failure.message:
        return
    if as_json:
        error = {"message": failure.message, "advice": failure.advice or None, "details": failure.details}
        sys.stdout.write(json.dumps({"error": error}, ensure_ascii=False) + "\n")
        return
    sys.stderr.write(f"{failure.message}\n")
    if failure.advice:
        sys.stderr.write(f"{failure.advice}\n")
