"""How answers about usage look on the wire."""

from typing import Final

from tollgate.billing.v1 import billing_pb2 as wire
from tollgate_billing.domain.table import row_json
from tollgate_billing.domain.usage_view import Column, View
from tollgate_billing.use_cases.ask_usage import Answer

MOST_BYTES: Final = 3_000_000


def view_message(view: View) -> wire.View:
    """Returns what a view is about."""
    return wire.View(
        name=view.name,
        version=view.version,
        question=view.question,
        operators_only=view.operators_only,
        parameters=[
            wire.ViewParameter(name=one.name, type=one.kind, default=one.default, meaning=one.meaning)
            for one in view.parameters
        ],
        columns=[_column(one) for one in view.columns],
    )


def view_answer(answer: Answer) -> wire.QueryViewResponse:
    """Returns a view's answer with what its columns mean."""
    types = dict(answer.table.columns)
    rows, cut = _rows(answer)
    columns = [_column(one, types[one.name]) for one in answer.columns]
    return wire.QueryViewResponse(columns=columns, rows_json=rows, truncated=cut)


def sql_answer(answer: Answer) -> wire.RunSqlResponse:
    """Returns a query's answer."""
    rows, cut = _rows(answer)
    columns = [wire.ViewColumn(name=name, type=kind) for name, kind in answer.table.columns]
    return wire.RunSqlResponse(columns=columns, rows_json=rows, truncated=cut)


def _rows(answer: Answer) -> tuple[list[str], bool]:
    """Returns as many rows as one message takes, and whether there are more."""
    rows: list[str] = []
    room = MOST_BYTES
    for row in answer.table.rows:
        text = row_json(row)
        room -= 4 * len(text) if not text.isascii() else len(text)
        if room < 0:
            return rows, True
        rows.append(text)
    return rows, answer.truncated


def _column(one: Column, kind: str = "") -> wire.ViewColumn:
    return wire.ViewColumn(
        name=one.name, unit=one.unit, meaning=one.meaning, operators_only=one.operators_only, type=kind
    )
