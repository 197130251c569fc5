"""Tables in the form that was asked for: for people, for scripts, for spreadsheets, as a file or as bars."""

import csv
import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from tollgate_cli.errors import USAGE, Failure
from tollgate_cli.output import print_json, print_table

_WRAPPED = re.compile(r"(?:LowCardinality|Nullable|SimpleAggregateFunction)\((?:\w+, )?(.+)\)")
_DECIMAL = re.compile(r"Decimal\((\d+), (\d+)\)")
_SHORTEST_BAR = 10
_LONGEST_BAR = 60
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class Form:
    """`kind` is table, json, csv, parquet or chart; `file` is that of parquet."""

    kind: str
    file: Path | None = None

    @classmethod
    def chosen(cls, *, as_json: bool, as_csv: bool, parquet: Path | None, chart: bool) -> Self:
        """Returns the one that was chosen. Raises Failure for more than one."""
        asked = {"json": as_json, "csv": as_csv, "parquet": parquet is not None, "chart": chart}
        kinds = [name for name, wanted in asked.items() if wanted]
        if len(kinds) > 1:
            raise Failure(f"--{kinds[0]} and --{kinds[1]} exclude each other.", code=USAGE, advice="Choose one form.")
        return cls(kinds[0] if kinds else "table", parquet)


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` are names and the engine's types; amounts are decimal text in `rows`."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Any]]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.columns]

    def numbers(self) -> list[str]:
        """Returns the columns that hold numbers."""
        return [name for name, kind in self.columns if re.match(r"U?Int|Float|Decimal", plain_type(kind))]


def show(table: Table, form: Form, whole: object) -> None:
    """Prints or writes a table; `whole` is what JSON says. Raises Failure for a file that cannot be written."""
    if form.kind == "json":
        print_json(whole)
    elif form.kind == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(table.names)
        writer.writerows([[_cell(value) for value in row] for row in table.rows])
    elif form.kind == "parquet" and form.file is not None:
        _write_parquet(table, form.file)
        print(f"{len(table.rows)} rows written to {form.file}")
    elif form.kind == "chart":
        _draw(table)
    else:
        print_table(table.names, [[_cell(value) for value in row] for row in table.rows], numbers=table.numbers())


def plain_type(kind: str) -> str:
    """Returns an engine's type without what it is wrapped in."""
    while wrapped := _WRAPPED.fullmatch(kind):
        kind = wrapped[1]
    return kind


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _draw(table: Table) -> None:
    """Draws a bar for each row: of `charge` where there is one, else of the last column of numbers."""
    numbers = table.numbers()
    if not numbers:
        raise Failure("There is no column of numbers to draw.", advice="Leave --chart out.")
    name = "charge" if "charge" in numbers else numbers[-1]
    place = table.names.index(name)
    labels = [at for at, one in enumerate(table.names) if one not in numbers]
    rows = [(" ".join(str(row[at]) for at in labels if row[at] is not None), row[place]) for row in table.rows]
    values = [Decimal(str(value)) if value is not None else Decimal(0) for _, value in rows]
    most = max(map(abs, values), default=Decimal(0))
    wide, digits = (
        (max((len(str(one)) for one in column), default=0) for column in zip(*rows, strict=True)) if rows else (0, 0)
    )
    room = shutil.get_terminal_size().columns - wide - digits - 3
    length = max(_SHORTEST_BAR, min(_LONGEST_BAR, room))
    print(f"{name}, {len(rows)} rows")
    for (label, shown), value in zip(rows, values, strict=True):
        eighths = int(abs(value) * length * 8 / most) if most else 0
        bar = ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()
        print(
            f"{label:<{wide}}  {'' if shown is None else shown!s:>{digits}}  {'-' if value < 0 else ''}{bar}".rstrip()
        )


def _write_parquet(table: Table, file: Path) -> None:
    # Heavy, and needed by nothing else here.
    import pyarrow as pa
    import pyarrow.parquet as pq

    def array(place: int, kind: str) -> Any:
        kind = plain_type(kind)
        values = [row[place] for row in table.rows]
        if kind.startswith(("UInt", "Int")) and kind.lstrip("UInt") in {"8", "16", "32", "64"}:
            numbers = [None if one is None else int(one) for one in values]
            return pa.array(numbers, pa.uint64() if kind.startswith("U") else pa.int64())
        if kind.startswith("Float"):
            return pa.array(values, pa.float64())
        if found := _DECIMAL.fullmatch(kind):
            exact = pa.decimal256 if int(found[1]) > 38 else pa.decimal128
            wanted = exact(int(found[1]), int(found[2]))
            return pa.array([None if one is None else Decimal(one) for one in values], wanted)
        if kind in {"Date", "Date32"}:
            return pa.array([None if one is None else date.fromisoformat(one) for one in values], pa.date32())
        if kind.startswith("DateTime"):
            return pa.array([None if one is None else _moment(one) for one in values], pa.timestamp("us", "UTC"))
        return pa.array([None if one is None else str(_cell(one)) for one in values], pa.string())

    arrays = [array(place, kind) for place, (_, kind) in enumerate(table.columns)]
    try:
        pq.write_table(pa.Table.from_arrays(arrays, names=table.names), file, compression="zstd")
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror or error}.") from error


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
