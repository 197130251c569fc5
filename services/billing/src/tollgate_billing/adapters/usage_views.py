"""The questions that are kept as views: read from their files, asked as fixed queries with parameters."""

import functools
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

from tollgate_billing.domain.table import Table
from tollgate_billing.domain.usage_view import View, read_view

if TYPE_CHECKING:
    from tollgate_billing.adapters.clickhouse import ClickHouse


def view_files() -> list[Traversable]:
    """Returns the files that each describe one view, by name."""
    folder = resources.files("tollgate_billing") / "views"
    return sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda one: one.name)


@functools.cache
def all_views() -> tuple[View, ...]:
    """Returns every view."""
    return tuple(read_view(file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")) for file in view_files())


def view_statement(view: View) -> str:
    """Returns what makes the view, with its parameters, in the usage store."""
    return f"CREATE OR REPLACE VIEW {view.full_name} AS\n{view.sql}"


class ClickHouseUsageViews:
    def __init__(self, clickhouse: "ClickHouse") -> None:
        self._clickhouse = clickhouse

    def views(self) -> Sequence[View]:
        return all_views()

    async def ask(self, view: View, values: Mapping[str, str | int], limit: int) -> Table:
        # The text of the view itself: around it, the order of its rows would be nobody's promise.
        sql = view.sql if "\nLIMIT " in view.sql else f"{view.sql}\nLIMIT {{rows_limit:UInt32}}"
        found = await self._clickhouse.table(sql, {**values, "rows_limit": limit})
        return Table(found.columns, found.rows[:limit])
