"""Anomalies in SQLite or PostgreSQL: each is kept and told once a day.

What is spent at an hour of the day is told once in a week: a batch that is new is no news in the second night.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from tollgate_billing.adapters.control_tables import ANOMALIES
from tollgate_billing.adapters.sql_ledger import known
from tollgate_billing.adapters.sql_notices import post_notices
from tollgate_billing.adapters.sql_transfers import insert
from tollgate_billing.control_ports import Fact
from tollgate_billing.domain.anomalies import SPEND, Anomaly
from tollgate_billing.domain.budgets import DAY_US, HOUR_US
from tollgate_kit.ids import Ids
from tollgate_kit.sql import Database

_PLAIN: Final = ("id", "organization_id", "project_id", "api_key_id", "kind", "subject", "hour_us", "found_us")


class SqlAnomalies:
    def __init__(self, database: Database, ids: Ids) -> None:
        self._database = database
        self._ids = ids

    async def add(self, found: Sequence[Anomaly], facts: Mapping[str, Fact], now_us: int) -> int:
        work = functools.partial(_add, found=found, facts=facts, now_us=now_us, ids=self._ids)
        return await known(self._database.write(work))

    async def list(self, organization_id: str, limit: int, before_id: str) -> list[Anomaly]:
        query = sa.select(ANOMALIES)
        if organization_id:
            query = query.where(ANOMALIES.c.organization_id == organization_id)
        if before_id:
            query = query.where(ANOMALIES.c.id < before_id)
        query = query.order_by(ANOMALIES.c.id.desc()).limit(limit)
        return await known(self._database.read(lambda connection: [_anomaly(row) for row in connection.execute(query)]))


def _add(connection: sa.Connection, found: Sequence[Anomaly], facts: Mapping[str, Fact], now_us: int, ids: Ids) -> int:
    new = 0
    for one in found:
        if one.kind == SPEND and _told_at_this_hour(connection, one):
            continue
        values = {name: getattr(one, name) for name in _PLAIN} | {
            "id": ids.new("anm"),
            "fact_key": one.id[:700],
            "numbers": json.dumps(one.numbers, ensure_ascii=False, sort_keys=True),
            "found_us": now_us,
        }
        statement = insert(connection, ANOMALIES).values(values).on_conflict_do_nothing()
        if connection.execute(statement.returning(ANOMALIES.c.id)).first() is not None:
            new += 1
            post_notices(connection, facts[one.id], now_us, ids)
    return new


def _told_at_this_hour(connection: sa.Connection, one: Anomaly) -> bool:
    """Says whether as much, within half more, was told on one of the six days before, at this hour or beside it."""
    query = sa.select(ANOMALIES.c.hour_us, ANOMALIES.c.numbers).where(
        ANOMALIES.c.organization_id == one.organization_id,
        ANOMALIES.c.project_id == one.project_id,
        ANOMALIES.c.api_key_id == one.api_key_id,
        ANOMALIES.c.subject == one.subject,
        ANOMALIES.c.kind == one.kind,
        ANOMALIES.c.hour_us >= one.hour_us - 6 * DAY_US - HOUR_US,
        ANOMALIES.c.hour_us < one.hour_us - DAY_US + 2 * HOUR_US,
    )
    return any(
        (one.hour_us - row.hour_us + HOUR_US) % DAY_US <= 2 * HOUR_US
        and one.numbers["spent_pico"] * 2 <= json.loads(row.numbers)["spent_pico"] * 3
        for row in connection.execute(query)
    )


def _anomaly(row: "sa.Row[Any]") -> Anomaly:
    plain: dict[str, Any] = {name: getattr(row, name) for name in _PLAIN}
    return Anomaly(**plain, numbers=json.loads(row.numbers))
