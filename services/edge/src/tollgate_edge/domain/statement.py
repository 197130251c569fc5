"""A statement as tables: the months it is for, and its CSV and HTML forms."""

import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

_MONTH: Final = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")
# What a spreadsheet would take for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_LINE: Final = ("project", "model", "price_digest", "exchange_rate", "requests", "charged", "taken_back", "amount")
_HEADINGS: Final = ("Project", "Model", "Price book", "Exchange rate", "Requests", "Charged", "Taken back", "Amount")
_STYLE: Final = (
    "body{font:14px/1.5 system-ui,sans-serif;max-width:960px;margin:40px auto;color:#222}"
    "table{border-collapse:collapse;width:100%;margin:16px 0}th,td{padding:4px 8px;border-bottom:1px solid #ddd;"
    "text-align:left}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}"
)


def month_bounds(month: str) -> tuple[int, int] | None:
    """Returns where a month such as 2026-11 begins and ends in UTC, in microseconds; None when it is no month."""
    found = _MONTH.fullmatch(month)
    if found is None:
        return None
    year, number = int(found[1]), int(found[2])
    following = (year + 1, 1) if number == 12 else (year, number + 1)
    first, last = datetime(year, number, 1, tzinfo=UTC), datetime(*following, 1, tzinfo=UTC)
    return int(first.timestamp()) * 1_000_000, int(last.timestamp()) * 1_000_000


def as_csv(statement: Mapping[str, Any]) -> str:
    """Returns one row for each line and movement, and the two balances, with `kind` in front."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\r\n").writerow
    write(("kind", *_LINE, "at", "reason", "currency"))
    blank = [""] * len(_LINE)
    currency = statement["currency"]
    write(["opening", *blank[:-1], statement["opening"], "", "", currency])
    for line in statement["lines"]:
        write(["usage", *(_cell(line[name]) for name in _LINE), "", "", currency])
    for one in statement["movements"]:
        write([one["kind"], *blank[:-1], one["amount"], one["at"], _cell(one["reason"]), currency])
    write(["closing", *blank[:-1], statement["closing"], "", "", currency])
    return out.getvalue()


def as_html(statement: Mapping[str, Any]) -> str:
    """Returns a page to print; everything that people named is escaped."""
    currency = statement["currency"] or "no currency yet"
    name = html.escape(statement["organization"])
    lines = [["" if line[column] is None else line[column] for column in _LINE] for line in statement["lines"]]
    movements = [[one["at"], one["kind"], one["reason"], one["amount"]] for one in statement["movements"]]
    state = " So far: the month is not over." if statement["open"] else ""
    parts = [
        f"<h1>Statement {statement['month']}: {name}</h1>",
        f"<p>All amounts in {html.escape(currency)}, by the time of booking in UTC.{state}</p>",
        _table(
            ("", "Amount"),
            [
                ["Opening balance", statement["opening"]],
                ["Usage", statement["usage"]],
                ["Other movements", statement["moved"]],
                ["Closing balance", statement["closing"]],
            ],
            numbers={1},
        ),
        "<h2>Usage</h2>",
        _table(_HEADINGS, lines, numbers={3, 4, 5, 6, 7}),
        "<h2>Other movements</h2>",
        _table(("Time", "Kind", "Reason", "Amount"), movements, numbers={3}),
    ]
    head = f'<meta charset="utf-8"><title>Statement {statement["month"]}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: set[int]) -> str:
    def cells(tag: str, row: Sequence[object]) -> str:
        return "".join(
            f"<{tag}{' class=n' if place in numbers else ''}>{html.escape(str(cell))}</{tag}>"
            for place, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', headings)}</tr>{body}</table>"


def _cell(value: object) -> object:
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) and not _number(value) else value


def _number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) is not None
