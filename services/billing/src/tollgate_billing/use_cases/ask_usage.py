"""Answers questions about usage: views for all, within what each caller may see; SQL and isolation for operators."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tollgate_billing.domain.isolation import isolation_statements
from tollgate_billing.domain.table import Table
from tollgate_billing.domain.usage_export import exported_columns, read_month
from tollgate_billing.domain.usage_view import Column, View, values_of
from tollgate_billing.errors import InvalidQuery, NotAllowed, UnknownView
from tollgate_billing.ports import UsageExport, UsageSql, UsageViews
from tollgate_kit.clock import Clock

MOST_ROWS: Final = 10_000
_DEFAULT_ROWS: Final = 1_000
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A table with what its columns mean; `columns` is empty for SQL of the caller's own."""

    columns: Sequence[Column]
    table: Table
    truncated: bool


class AskUsage:
    """`cluster` is where the store's tables are replicated; empty for one server."""

    def __init__(self, views: UsageViews, sql: UsageSql, export: UsageExport, clock: Clock, cluster: str = "") -> None:
        self._views = views
        self._sql = sql
        self._export = export
        self._clock = clock
        self._cluster = cluster

    def views(self, *, operator: bool) -> list[View]:
        """Returns the questions that a caller may ask, with the columns that it may see."""
        return [
            replace(view, columns=_seen(view, operator=operator))
            for view in self._views.views()
            if operator or not view.operators_only
        ]

    async def view(
        self, name: str, given: Mapping[str, str], *, organization_id: str, operator: bool, limit: int
    ) -> Answer:
        """Asks a view by name, with or without its version. Raises UnknownView, NotAllowed and InvalidQuery."""
        known = [one for one in self._views.views() if name in {one.name, one.full_name}]
        if not known:
            names = ", ".join(one.name for one in self.views(operator=operator))
            raise UnknownView(f"No view is called '{name[:60]}'; there are {names}.")
        view = max(known, key=lambda one: one.version)
        takes_organization = any(one.name == "organization" for one in view.parameters)
        if not operator and (view.operators_only or not organization_id or not takes_organization):
            raise NotAllowed(f"The view {view.name} is for operators.")
        asked = dict(given)
        if takes_organization and organization_id:
            asked["organization"] = organization_id
        table = await self._views.ask(view, values_of(view, asked, self._clock.now_us()), limit + 1)
        columns = _seen(view, operator=operator)
        places = [[name for name, _ in table.columns].index(one.name) for one in columns]
        shown = Table(
            [table.columns[place] for place in places],
            [[row[place] for place in places] for row in table.rows[:limit]],
        )
        return Answer(columns, shown, len(table.rows) > limit)

    async def sql(self, sql: str, limit: int) -> Answer:
        """Runs a SELECT of an operator. Raises InvalidQuery."""
        most = min(limit or _DEFAULT_ROWS, MOST_ROWS)
        table = await self._sql.run(sql, most)
        return Answer((), Table(table.columns, table.rows[:most]), len(table.rows) > most)

    def export(self, organization_id: str, month: str, *, operator: bool) -> AsyncIterator[bytes]:
        """Returns the pieces of a Parquet file. Raises InvalidQuery."""
        if not organization_id:
            raise InvalidQuery("an export is of one organization; name it")
        return self._export.month(organization_id, read_month(month), exported_columns(operator=operator))

    def isolation(self, organization_id: str) -> list[str]:
        """Returns what gives an organization's analysts their own rows on a server. Raises InvalidQuery."""
        if not _ID.fullmatch(organization_id):
            raise InvalidQuery("an organization's id has up to 64 letters, digits, '_' and '-'")
        return isolation_statements(organization_id, self._views.views(), self._cluster)


def _seen(view: View, *, operator: bool) -> tuple[Column, ...]:
    return tuple(one for one in view.columns if operator or not one.operators_only)
