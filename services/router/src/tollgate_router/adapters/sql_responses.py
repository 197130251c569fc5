"""Stored responses in SQL, sealed: a row says whose it is and when it ends, and nothing of what was said."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa

from tollgate_kit.sql import Database, SqlUnavailable, Work
from tollgate_router.domain.stored import StoredResponse
from tollgate_router.errors import StoreUnavailable
from tollgate_sealing.envelopes import CannotOpen, Envelopes

# A conversation that is longer is more than any model reads.
_MOST_TURNS: Final = 1_000
_MOST_PURGED: Final = 1_000
# Of what runs in the background, in one statement.
_MOST_KEYS: Final = 500
_BODY: Final = msgspec.msgpack.Decoder(tuple[bytes, bytes])

T = TypeVar("T")
_TABLE: Final = sa.table(
    "responses",
    *(sa.column(name, sa.Text) for name in ("project_id", "id", "previous_id", "status")),
    *(sa.column(name, sa.BigInteger) for name in ("created_at_us", "expires_at_us", "running_until_us")),
    sa.column("sealed", sa.LargeBinary),
)
_KEY: Final = sa.tuple_(_TABLE.c.project_id, _TABLE.c.id)
_RUNS: Final = _TABLE.c.running_until_us > 0
_RUNNING: Final = sa.select(_TABLE.c.project_id, _TABLE.c.id, _TABLE.c.running_until_us).where(_RUNS)


class SqlResponses:
    """SQLite and PostgreSQL pass the same suite. Every method raises StoreUnavailable."""

    def __init__(self, url: str, envelopes: Envelopes) -> None:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self._database = Database(url, migrations="tollgate_router:migrations", threads=2)
        self._envelopes = envelopes

    async def migrate(self) -> None:
        """Brings the schema up to date."""
        try:
            await self._database.migrate()
        except SqlUnavailable as error:
            raise StoreUnavailable(str(error)) from error

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()

    async def add(self, one: StoredResponse) -> None:
        """Keeps a response; one of the same id takes the place of what a try before it left."""
        sealed = self._seal(one)

        def work(connection: sa.Connection) -> None:
            connection.execute(_TABLE.delete().where(_is(one.project_id, one.id)))
            connection.execute(
                _TABLE.insert().values(
                    project_id=one.project_id,
                    id=one.id,
                    previous_id=one.previous_id,
                    created_at_us=one.created_at_us,
                    expires_at_us=one.expires_at_us,
                    sealed=sealed,
                    status=one.status,
                    running_until_us=one.running_until_us,
                )
            )

        await self._write(work)

    async def renew(
        self, keys: Collection[tuple[str, str]], begun: Collection[tuple[str, str]], now_us: int, until_us: int
    ) -> set[tuple[str, str]]:
        """Says that these still run, by project and id: none is lost before the middle of the time until `until_us`.

        Those `begun` are in progress from now on. Returns those that do run: the others were ended or deleted.
        """
        soon = (now_us + until_us) // 2

        def work(connection: sa.Connection) -> set[tuple[str, str]]:
            running: set[tuple[str, str]] = set()
            for part in _parts(keys):
                found = connection.execute(_RUNNING.where(_KEY.in_(part))).all()
                running |= {(row.project_id, row.id) for row in found}
                # Not at every look: a row that is written leaves an old one to be cleared away.
                if due := [(row.project_id, row.id) for row in found if row.running_until_us <= soon]:
                    renewed = _TABLE.update().where(_KEY.in_(due) & _RUNS).values(running_until_us=until_us)
                    connection.execute(renewed)
            for part in _parts(begun):
                connection.execute(_TABLE.update().where(_KEY.in_(part) & _RUNS).values(status="in_progress"))
            return running

        return await self._write(work)

    async def finish(self, one: StoredResponse, *, lost_at_us: int | None = None) -> str:
        """Keeps what became of a response, if it still runs; returns its status then, empty where there is none.

        With `lost_at_us` only if its process had not said by then that it goes on.
        """
        this, sealed = _is(one.project_id, one.id), self._seal(one)
        open_to = this & _RUNS if lost_at_us is None else this & _RUNS & (_TABLE.c.running_until_us <= lost_at_us)

        def work(connection: sa.Connection) -> str:
            values = {"sealed": sealed, "status": one.status, "running_until_us": 0}
            if connection.execute(_TABLE.update().where(open_to).values(values)).rowcount:
                return one.status
            return str(connection.execute(sa.select(_TABLE.c.status).where(this)).scalar() or "")

        return await self._write(work)

    async def get(self, project_id: str, response_id: str, now_us: int) -> StoredResponse | None:
        """Returns a response of this project that has not expired; None where there is none."""
        return await self._read(lambda connection: self._find(connection, project_id, response_id, now_us))

    async def chain(self, project_id: str, response_id: str, now_us: int) -> list[StoredResponse]:
        """Returns the turns up to this response, the oldest first; none when one of them is gone, or are too many."""

        def work(connection: sa.Connection) -> list[StoredResponse]:
            turns: list[StoredResponse] = []
            wanted = response_id
            while wanted:
                found = self._find(connection, project_id, wanted, now_us)
                if found is None or len(turns) >= _MOST_TURNS:
                    return []
                turns.append(found)
                wanted = found.previous_id
            return turns[::-1]

        return await self._read(work)

    async def delete(self, project_id: str, response_id: str) -> bool:
        """Forgets a response; tells whether it was there."""
        statement = _TABLE.delete().where(_is(project_id, response_id))
        return await self._write(lambda connection: connection.execute(statement).rowcount > 0)

    async def purge(self, now_us: int) -> int:
        """Forgets some of what has expired; returns how many responses that were."""
        old = sa.select(_TABLE.c.project_id, _TABLE.c.id).where(_TABLE.c.expires_at_us <= now_us).limit(_MOST_PURGED)
        statement = _TABLE.delete().where(sa.tuple_(_TABLE.c.project_id, _TABLE.c.id).in_(old))
        return await self._write(lambda connection: connection.execute(statement).rowcount)

    def _find(self, connection: sa.Connection, project_id: str, response_id: str, now_us: int) -> StoredResponse | None:
        current = _is(project_id, response_id) & (_TABLE.c.expires_at_us > now_us)
        row: Any = connection.execute(sa.select(_TABLE).where(current)).first()
        if row is None:
            return None
        try:
            items, response = _BODY.decode(self._envelopes.open(row.sealed, _about(project_id, response_id)))
        except CannotOpen as error:
            raise StoreUnavailable(f"a stored response cannot be opened: {error}") from error
        times = row.created_at_us, row.expires_at_us
        return StoredResponse(
            response_id, project_id, row.previous_id, *times, items, response, row.status, row.running_until_us
        )

    def _seal(self, one: StoredResponse) -> bytes:
        return self._envelopes.seal(msgspec.msgpack.encode((one.items, one.response)), _about(one.project_id, one.id))

    async def _read(self, work: Work[T]) -> T:
        try:
            return await self._database.read(work)
        except SqlUnavailable as error:
            raise StoreUnavailable(str(error)) from error

    async def _write(self, work: Work[T]) -> T:
        try:
            return await self._database.write(work)
        except SqlUnavailable as error:
            raise StoreUnavailable(str(error)) from error


def _parts(keys: Collection[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    whole = list(keys)
    return [whole[at : at + _MOST_KEYS] for at in range(0, len(whole), _MOST_KEYS)]


def _is(project_id: str, response_id: str) -> sa.ColumnElement[bool]:
    return (_TABLE.c.project_id == project_id) & (_TABLE.c.id == response_id)


def _about(project_id: str, response_id: str) -> bytes:
    """What a sealed response belongs to: it cannot be moved to another project or id."""
    return f"responses/{project_id}/{response_id}".encode()
