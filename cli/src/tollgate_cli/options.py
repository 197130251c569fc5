"""Options that many commands have, and how a command is added."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Directory of the product's state. Else TOLLGATE_HOME, else .tollgate.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
OrganizationOption = Annotated[
    str | None, typer.Option("--organization", help="Name or id of the organization; else the first.")
]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV with a head line.")]
ParquetOption = Annotated[Path | None, typer.Option("--parquet", metavar="FILE", help="Write a Parquet file.")]
ChartOption = Annotated[bool, typer.Option("--chart", help="Draw bars: of the charge, or else of the last number.")]


def add(group: typer.Typer, name: str, command: Callable[..., None]) -> None:
    """Adds a command to a group."""
    group.command(name, help=help_of(command))(command)


def help_of(command: Callable[..., None]) -> str:
    """Returns a command's help, whose examples keep their lines."""
    return inspect.cleandoc(command.__doc__ or "").replace(r"\b", "\b")
