"""Alerts of operators in SQLite or PostgreSQL: what is wrong now, and when it was told, beside the notices of it."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from tollgate_billing.adapters.control_tables import OPERATOR_ALERTS
from tollgate_billing.adapters.sql_ledger import known
from tollgate_billing.adapters.sql_notices import post_notices
from tollgate_billing.adapters.sql_transfers import insert
from tollgate_billing.control_ports import Fact
from tollgate_billing.domain.alerts import Alert, Kept, is_news
from tollgate_kit.ids import Ids
from tollgate_kit.sql import Database

Facts = Callable[[Alert], Fact]
Looked = Mapping[str, Collection[str] | None]
_ROW: Final = OPERATOR_ALERTS.c


class SqlAlerts:
    def __init__(self, database: Database, ids: Ids) -> None:
        self._database = database
        self._ids = ids

    async def keep(self, found: Sequence[Alert], looked: Looked, facts: Facts, now_us: int) -> list[Alert]:
        present = sa.select(_ROW.kind).where(_ROW.present, _any_of(looked)).limit(1)
        # Asked once a minute: without anything wrong no writer's lock is taken.
        if not found and not await known(self._database.read(lambda connection: connection.execute(present).first())):
            return []
        work = functools.partial(_keep, found=found, looked=looked, facts=facts, now_us=now_us, ids=self._ids)
        return await known(self._database.write(work))


def _keep(
    connection: sa.Connection,
    found: Sequence[Alert],
    looked: Looked,
    facts: Facts,
    now_us: int,
    ids: Ids,
) -> list[Alert]:
    news = [alert for alert in found if _tell(connection, alert, facts, now_us, ids)]
    names = {(alert.kind, alert.subject) for alert in found}
    query = sa.select(_ROW.kind, _ROW.subject).where(_ROW.present, _any_of(looked))
    for kind, subject in connection.execute(query).all():
        if (kind, subject) not in names:
            _put(connection, kind, subject, {"present": False})
    return news


def _tell(connection: sa.Connection, alert: Alert, facts: Facts, now_us: int, ids: Ids) -> bool:
    name = {"kind": alert.kind, "subject": alert.subject}
    new = {**name, "mark": "", "told_us": 0, "present": False}
    connection.execute(insert(connection, OPERATOR_ALERTS).values(new).on_conflict_do_nothing())
    # Of two processes that look at once, the second one sees what the first one has told.
    row = connection.execute(sa.select(OPERATOR_ALERTS).where(_this(**name)).with_for_update()).one()
    kept = Kept(row.told_us, row.mark, row.present)
    if not is_news(alert, kept, now_us):
        if not kept.present:
            _put(connection, **name, values={"present": True})
        return False
    _put(connection, **name, values={"mark": alert.mark, "told_us": now_us, "present": True})
    post_notices(connection, facts(alert), now_us, ids)
    return True


def _put(connection: sa.Connection, kind: str, subject: str, values: dict[str, Any]) -> None:
    connection.execute(sa.update(OPERATOR_ALERTS).where(_this(kind, subject)).values(values))


def _any_of(looked: Looked) -> sa.ColumnElement[bool]:
    whole = [kind for kind, subjects in looked.items() if subjects is None]
    some = [
        sa.and_(_ROW.kind == kind, _ROW.subject.in_(tuple(subjects)))
        for kind, subjects in looked.items()
        if subjects is not None
    ]
    return sa.or_(_ROW.kind.in_(whole), *some)


def _this(kind: str, subject: str) -> sa.ColumnElement[bool]:
    return sa.and_(_ROW.kind == kind, _ROW.subject == subject)
