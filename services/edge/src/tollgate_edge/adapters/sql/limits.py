"""Limits of keys, projects and organizations over SQL."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from tollgate_edge.adapters.sql import tables as t
from tollgate_edge.adapters.sql.changes import bump
from tollgate_edge.adapters.sql.database import Database
from tollgate_edge.adapters.sql.stores import limits_of
from tollgate_edge.domain.limits import KEY, LIMIT_NAMES, ORGANIZATION, PROJECT
from tollgate_edge.ports import LimitedOwner

# By what an id begins with.
_OWNERS: Final[Mapping[str, tuple[str, sa.Table]]] = {
    "key": (KEY, t.api_keys),
    "proj": (PROJECT, t.projects),
    "org": (ORGANIZATION, t.organizations),
}

_MOST_LISTED: Final = 1000


class SqlLimitStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def limits_of(self, owner_id: str) -> LimitedOwner | None:
        found = _OWNERS.get(owner_id.partition("_")[0])
        if found is None:
            return None
        kind, table = found
        query = sa.select(table).where(table.c.id == owner_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _owner_of(kind, row)

    async def set_limits(
        self, owner_id: str, limits: Mapping[str, int | str], at_us: int, *, prepaid: bool | None = None
    ) -> LimitedOwner | None:
        found = _OWNERS.get(owner_id.partition("_")[0])
        if found is None:
            return None
        kind, table = found
        query = sa.select(table).where(table.c.id == owner_id)
        values: dict[str, Any] = dict(limits)
        if kind == ORGANIZATION and prepaid is not None:
            values["prepaid"] = prepaid

        def work(connection: sa.Connection) -> LimitedOwner | None:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            if values:
                bump(connection, kind, row.key_hash if kind == KEY else row.id, at_us)
                connection.execute(table.update().where(table.c.id == owner_id).values(**values))
            return _owner_of(kind, connection.execute(query).one())

        return await self._database.write(work)

    async def list_limited(self) -> Sequence[LimitedOwner]:
        def work(connection: sa.Connection) -> list[LimitedOwner]:
            found = []
            for kind, table in _OWNERS.values():
                limited = [table.c[name] > 0 for name in (*LIMIT_NAMES, "budget_pico")]
                if kind == ORGANIZATION:
                    limited.append(sa.not_(table.c.prepaid))
                query = sa.select(table).where(sa.or_(*limited)).order_by(table.c.id).limit(_MOST_LISTED)
                found += [_owner_of(kind, row) for row in connection.execute(query)]
            return found

        return await self._database.read(work)


def _owner_of(kind: str, row: Any) -> LimitedOwner:
    return LimitedOwner(
        kind=kind,
        id=row.id,
        name=row.name,
        organization_id=row.id if kind == ORGANIZATION else row.organization_id,
        limits=limits_of(row),
        prepaid=row.prepaid if kind == ORGANIZATION else None,
    )
