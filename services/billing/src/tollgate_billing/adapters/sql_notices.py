"""Destinations and the outbox of notices in SQLite or PostgreSQL.

A notice is made once for each destination and fact. Who sends takes a lease in one transaction and says what became of
it in another: a process that is killed between the two leaves a message that is sent again, under the same id.
Where messages go and what they are signed with is sealed: SQL alone gives neither away.
"""

import functools
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from tollgate_billing.adapters.control_tables import DESTINATIONS, NOTICES
from tollgate_billing.adapters.sql_ledger import known
from tollgate_billing.adapters.sql_transfers import insert
from tollgate_billing.control_ports import Fact, Message, Notice, Outcome
from tollgate_billing.domain.delivery import Destination, Quiet, due_at, loud_at
from tollgate_billing.errors import InvalidControl, NameTaken
from tollgate_kit.ids import Ids
from tollgate_kit.sql import Database
from tollgate_sealing.envelopes import CannotOpen, Envelopes

log = logging.getLogger(__name__)

MOST_DESTINATIONS: Final = 1_000
# More than this would not be read in one message.
_MOST_A_MESSAGE: Final = 20
_DESTINATION: Final = (
    *("id", "organization_id", "name", "kind", "language", "time_zone", "digest_minutes"),
    "created_us",
)
_NOTICE: Final = (
    *("id", "destination_id", "organization_id", "about", "state", "attempts", "created_us", "due_us", "sent_us"),
    *("message_id", "problem"),
)


class SqlDestinations:
    def __init__(self, database: Database, keys: Envelopes) -> None:
        self._database = database
        self._keys = keys

    async def seal(self) -> int:
        """Seals what an older release left open, and again what is under an older key; returns how many.

        Raises LedgerUnavailable.
        """
        return await known(self._database.write(functools.partial(_seal, keys=self._keys)))

    async def add(self, destination: Destination) -> None:
        await known(self._database.write(functools.partial(_add, destination=destination, keys=self._keys)))

    async def list(self) -> list[Destination]:
        return await known(self._database.read(functools.partial(_opened, keys=self._keys)))

    async def get(self, destination_id: str) -> Destination | None:
        query = sa.select(DESTINATIONS).where(DESTINATIONS.c.id == destination_id)
        row = await known(self._database.read(lambda connection: connection.execute(query).one_or_none()))
        return None if row is None else _open(row, self._keys)

    async def remove(self, destination_id: str) -> bool:
        return await known(self._database.write(functools.partial(_remove, destination_id=destination_id)))


class SqlOutbox:
    def __init__(self, database: Database, keys: Envelopes) -> None:
        self._database = database
        self._keys = keys

    async def take(self, now_us: int, lease_us: int, limit: int) -> list[Message]:
        # Asked every second: without anything due no writer's lock is taken.
        query = sa.select(NOTICES.c.id).where(_due(now_us)).limit(1)
        if not await known(self._database.read(lambda connection: connection.execute(query).first())):
            return []
        work = functools.partial(_take, now_us=now_us, lease_us=lease_us, limit=limit, keys=self._keys)
        return await known(self._database.write(work))

    async def settle(self, message: Message, outcome: Outcome, now_us: int, retry_us: int) -> None:
        values: dict[str, Any] = {"leased_us": 0, "problem": outcome.problem[:500]}
        if not outcome.problem:
            values |= {"state": "sent", "sent_us": now_us}
        elif retry_us:
            values |= {"due_us": retry_us}
        else:
            values |= {"state": "failed"}
        this = sa.and_(NOTICES.c.message_id == message.id, NOTICES.c.state == "waiting")
        statement = sa.update(NOTICES).where(this).values(values)
        await known(self._database.write(lambda connection: connection.execute(statement) and None))

    async def list(self, limit: int, before_id: str) -> list[Notice]:
        query = sa.select(NOTICES)
        if before_id:
            query = query.where(NOTICES.c.id < before_id)
        query = query.order_by(NOTICES.c.id.desc()).limit(limit)
        return await known(self._database.read(lambda connection: [_notice(row) for row in connection.execute(query)]))


def post_notices(connection: sa.Connection, fact: Fact, now_us: int, ids: Ids) -> int:
    """Adds a notice for each destination that wants this fact, once, in the caller's transaction; returns how many."""
    made = 0
    for row in _rows(connection):
        destination = _destination(row)
        if not destination.wants(fact.organization_id, fact.about):
            continue
        values = {
            "id": ids.new("ntc"),
            "destination_id": destination.id,
            "fact_key": fact.key,
            "organization_id": fact.organization_id,
            "about": fact.about,
            "content": json.dumps(fact.content, ensure_ascii=False, sort_keys=True),
            "state": "waiting",
            "message_id": "",
            "attempts": 0,
            "created_us": now_us,
            "due_us": due_at(destination, now_us),
            "leased_us": 0,
            "sent_us": 0,
            "problem": "",
        }
        statement = insert(connection, NOTICES).values(values).on_conflict_do_nothing()
        made += connection.execute(statement.returning(NOTICES.c.id)).first() is not None
    return made


def _add(connection: sa.Connection, destination: Destination, keys: Envelopes) -> None:
    count = connection.execute(sa.select(sa.func.count()).select_from(DESTINATIONS)).scalar_one()
    if count >= MOST_DESTINATIONS:
        raise InvalidControl(f"there are at most {MOST_DESTINATIONS} destinations; delete one first")
    values: dict[str, Any] = {name: getattr(destination, name) for name in _DESTINATION}
    values |= {
        "quiet_begin": destination.quiet.begin,
        "quiet_end": destination.quiet.end,
        "about": json.dumps(destination.about),
        **_sealed(destination.id, destination.target, destination.secret, keys),
    }
    statement = insert(connection, DESTINATIONS).values(values).on_conflict_do_nothing()
    if connection.execute(statement.returning(DESTINATIONS.c.id)).first() is None:
        raise NameTaken(f"there is a destination called {destination.name!r}; delete it or take another name")


def _remove(connection: sa.Connection, destination_id: str) -> bool:
    waiting = sa.and_(NOTICES.c.destination_id == destination_id, NOTICES.c.state == "waiting")
    connection.execute(sa.update(NOTICES).where(waiting).values(state="failed", problem="the destination was deleted"))
    gone = connection.execute(
        sa.delete(DESTINATIONS).where(DESTINATIONS.c.id == destination_id).returning(DESTINATIONS.c.id)
    )
    return gone.first() is not None


def _due(now_us: int) -> sa.ColumnElement[bool]:
    return sa.and_(NOTICES.c.state == "waiting", NOTICES.c.due_us <= now_us, NOTICES.c.leased_us <= now_us)


def _take(connection: sa.Connection, now_us: int, lease_us: int, limit: int, keys: Envelopes) -> list[Message]:
    due = _due(now_us)
    query = sa.select(NOTICES).where(due).order_by(NOTICES.c.due_us, NOTICES.c.id).limit(limit * _MOST_A_MESSAGE)
    # Processes that look at once do not take the same; SQLite's writers come one after the other.
    rows = connection.execute(query.with_for_update(skip_locked=True)).all()
    if not rows:
        return []
    # What was sent together before goes together again, wherever the limit has cut.
    begun = {row.message_id for row in rows if row.message_id}
    if begun:
        whole = sa.select(NOTICES).where(due, NOTICES.c.message_id.in_(begun)).order_by(NOTICES.c.id)
        rows = [*(row for row in rows if not row.message_id), *connection.execute(whole).all()]
    known_ones = {one.id: one for one in _opened(connection, keys)}
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        destination = known_ones.get(row.destination_id)
        if destination is None:
            _put(connection, [row.id], {"state": "failed", "problem": "the destination was deleted"})
        elif (loud := loud_at(destination, now_us)) > now_us:
            _put(connection, [row.id], {"due_us": loud})
        else:
            groups.setdefault((row.destination_id, row.message_id), []).append(row)
    messages: list[Message] = []
    for (destination_id, message_id), of_group in groups.items():
        # A message that was tried before stays as it is, though others are due at its destination by now.
        for first in range(0, len(of_group), _MOST_A_MESSAGE):
            if len(messages) >= limit:
                return messages
            part = of_group[first : first + _MOST_A_MESSAGE]
            name = message_id or part[0].id
            values = {"message_id": name, "leased_us": lease_us, "attempts": part[0].attempts + 1}
            _put(connection, [row.id for row in part], values)
            notices = tuple(_notice(row, attempts=row.attempts + 1, message_id=name) for row in part)
            messages.append(Message(name, known_ones[destination_id], notices))
    return messages


def _put(connection: sa.Connection, ids: Sequence[str], values: dict[str, Any]) -> None:
    connection.execute(sa.update(NOTICES).where(NOTICES.c.id.in_(ids)).values(values))


def _rows(connection: sa.Connection) -> "Sequence[sa.Row[Any]]":
    return connection.execute(sa.select(DESTINATIONS).order_by(DESTINATIONS.c.name)).all()


def _opened(connection: sa.Connection, keys: Envelopes) -> list[Destination]:
    return [_open(row, keys) for row in _rows(connection)]


def _destination(row: "sa.Row[Any]") -> Destination:
    """Returns a destination as far as it is no secret."""
    plain: dict[str, Any] = {name: getattr(row, name) for name in _DESTINATION}
    quiet, about = Quiet(row.quiet_begin, row.quiet_end), tuple(json.loads(row.about))
    return Destination(**plain, target="", quiet=quiet, about=about)


def _open(row: "sa.Row[Any]", keys: Envelopes) -> Destination:
    if not row.sealed:
        # Of an older release that runs beside this one: sealed at the next start.
        return replace(_destination(row), target=row.target, secret=row.secret)
    try:
        found = json.loads(keys.open(_bytes_of(row.sealed), _about(row.id)))
    except CannotOpen as error:
        return replace(_destination(row), problem=f"where it goes cannot be read: {error}")
    return replace(_destination(row), target=found["target"], secret=found["secret"])


def _bytes_of(sealed: str) -> bytes:
    try:
        return bytes.fromhex(sealed)
    except ValueError:
        # What is damaged opens as little as what is missing.
        return b""


def _about(destination_id: str) -> bytes:
    return f"{destination_id}/destination".encode()


def _sealed(destination_id: str, target: str, secret: str, keys: Envelopes) -> dict[str, str]:
    plain = json.dumps({"target": target, "secret": secret}).encode()
    return {"target": "", "secret": "", "sealed": keys.seal(plain, _about(destination_id)).hex()}


def _renewed(row: "sa.Row[Any]", keys: Envelopes) -> dict[str, str]:
    """Returns the columns under the current key: what was open is sealed, of the rest the key is wrapped anew."""
    if not row.sealed:
        return _sealed(row.id, row.target, row.secret, keys)
    return {"target": "", "secret": "", "sealed": keys.renewed(_bytes_of(row.sealed), _about(row.id)).hex()}


def _seal(connection: sa.Connection, keys: Envelopes) -> int:
    if connection.dialect.name == "sqlite":
        # What was there is overwritten, not only unlinked.
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
    changed = 0
    for row in _rows(connection):
        if row.sealed and keys.is_current(_bytes_of(row.sealed)):
            continue
        try:
            values = _renewed(row, keys)
        except CannotOpen as error:
            log.warning("a destination cannot be used", extra={"fields": {"id": row.id, "reason": str(error)}})
            continue
        connection.execute(sa.update(DESTINATIONS).where(DESTINATIONS.c.id == row.id).values(values))
        changed += 1
    return changed


def _notice(row: "sa.Row[Any]", **instead: Any) -> Notice:
    plain: dict[str, Any] = {name: getattr(row, name) for name in _NOTICE}
    return Notice(**(plain | {"content": json.loads(row.content)} | instead))
