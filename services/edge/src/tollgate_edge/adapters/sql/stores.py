"""Keys and configuration versions over SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import sqlalchemy as sa

from tollgate_edge.adapters.sql import tables as t
from tollgate_edge.adapters.sql.changes import bump
from tollgate_edge.adapters.sql.database import Database
from tollgate_edge.domain.access import access_of
from tollgate_edge.domain.limits import KEY, ORGANIZATION, PROJECT, Limits, limit_set
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import Conflict
from tollgate_edge.ports import Changes, KeyLookup, KeyRecord, StoredVersion

_MOST_CHANGES: Final = 1000
# Databases limit how many parameters a statement has.
_MOST_HASHES: Final = 1000
LIMIT_COLUMNS: Final = tuple(one.name for one in fields(Limits))


class SqlKeyStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_keys(self, hashes: Sequence[str]) -> tuple[Mapping[str, KeyLookup], int]:
        def work(connection: sa.Connection) -> tuple[Mapping[str, KeyLookup], int]:
            sequence = connection.execute(sa.select(t.change_counter.c.sequence)).scalar_one()
            found: dict[str, KeyLookup] = {}
            for begin in range(0, len(hashes), _MOST_HASHES):
                some = hashes[begin : begin + _MOST_HASHES]
                found |= (keys := _find_api_keys(connection, some))
                if len(keys) < len(some):
                    found |= _find_tokens(connection, some)
            return found, sequence

        return await self._database.read(work)

    async def changes_since(self, sequence: int) -> Changes:
        def work(connection: sa.Connection) -> Changes:
            newest = connection.execute(sa.select(t.change_counter.c.sequence)).scalar_one()
            if newest == sequence:
                return Changes(newest)
            if not sequence <= newest <= sequence + _MOST_CHANGES:
                return Changes(newest, None, versions=True)
            rows = connection.execute(
                sa.select(t.changes.c.kind, t.changes.c.key_hash).where(t.changes.c.sequence > sequence)
            ).all()
            return Changes(
                newest,
                tuple(row.key_hash for row in rows if row.kind == "key"),
                versions=any(row.kind == "version" for row in rows),
                tenants=tuple(row.key_hash for row in rows if row.kind in {PROJECT, ORGANIZATION}),
            )

        return await self._database.read(work)

    async def add_key(self, record: KeyRecord, key_hash: str, pepper_id: str) -> None:
        await self.add_keys({key_hash: record}, pepper_id)

    async def add_keys(self, records: Mapping[str, KeyRecord], pepper_id: str) -> None:
        def work(connection: sa.Connection) -> None:
            owners = {record.project_id: record.organization_id for record in records.values()}
            found = connection.execute(
                sa.select(t.projects.c.id, t.projects.c.organization_id).where(t.projects.c.id.in_(list(owners)))
            )
            if {row.id: row.organization_id for row in found} != owners:
                raise Conflict("the project does not belong to the organization")
            # One change is enough: with any, every process forgets which keys it took for unknown.
            key_hash, first = next(iter(records.items()))
            bump(connection, "key", key_hash, first.created_at_us)
            try:
                connection.execute(t.api_keys.insert(), [_row_of(*one, pepper_id) for one in records.items()])
            except sa.exc.IntegrityError:
                raise Conflict("one of the keys is stored already") from None

        await self._database.write(work)

    async def list_keys(self, organization_id: str, limit: int, before: str) -> Sequence[KeyRecord]:
        query = sa.select(t.api_keys).order_by(t.api_keys.c.id.desc()).limit(limit)
        if organization_id:
            query = query.where(t.api_keys.c.organization_id == organization_id)
        if before:
            query = query.where(t.api_keys.c.id < before)
        return await self._database.read(lambda c: [_record_of(row) for row in c.execute(query).all()])

    async def key(self, key_id: str) -> KeyRecord | None:
        def work(connection: sa.Connection) -> KeyRecord | None:
            row = connection.execute(sa.select(t.api_keys).where(t.api_keys.c.id == key_id)).one_or_none()
            return None if row is None else _record_of(row)

        return await self._database.read(work)

    async def revoke_key(self, organization_id: str, key_id: str, at_us: int) -> KeyRecord | None:
        def work(connection: sa.Connection) -> KeyRecord | None:
            query = sa.select(t.api_keys).where(t.api_keys.c.id == key_id)
            if organization_id:
                query = query.where(t.api_keys.c.organization_id == organization_id)
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            if not row.revoked_at_us:
                bump(connection, "key", row.key_hash, at_us)
                connection.execute(t.api_keys.update().where(t.api_keys.c.id == key_id).values(revoked_at_us=at_us))
                row = connection.execute(query).one()
            return _record_of(row)

        return await self._database.write(work)

    async def add_token(
        self, token_id: str, name: str, last_four: str, key_hash: str, pepper_id: str, at_us: int
    ) -> None:
        def work(connection: sa.Connection) -> None:
            bump(connection, "key", key_hash, at_us)
            connection.execute(
                t.access_tokens.insert().values(
                    id=token_id,
                    name=name,
                    key_hash=key_hash,
                    pepper_id=pepper_id,
                    last_four=last_four,
                    created_at_us=at_us,
                    revoked_at_us=0,
                )
            )

        await self._database.write(work)


def _find_api_keys(connection: sa.Connection, hashes: Sequence[str]) -> dict[str, KeyLookup]:
    rows = connection.execute(
        sa.select(
            t.api_keys,
            t.projects.c.price_group,
            t.projects.c.route_group,
            t.organizations.c.prepaid,
            t.organizations.c.currency,
            *(t.projects.c[name].label(f"project_{name}") for name in LIMIT_COLUMNS),
            *(t.organizations.c[name].label(f"organization_{name}") for name in LIMIT_COLUMNS),
        )
        .join(t.projects, t.projects.c.id == t.api_keys.c.project_id)
        .join(t.organizations, t.organizations.c.id == t.api_keys.c.organization_id)
        .where(t.api_keys.c.key_hash.in_(list(hashes)))
    )
    return {row.key_hash: KeyLookup(_principal_of(row), row.revoked_at_us, row.expires_at_us) for row in rows}


def _principal_of(row: Any) -> Principal:
    return Principal(
        api_key_id=row.id,
        organization_id=row.organization_id,
        project_id=row.project_id,
        currency=row.currency,
        price_group=row.price_group,
        route_group=row.route_group,
        models=None if row.models is None else frozenset(row.models),
        prepaid=row.prepaid,
        limits=limit_set(
            row.organization_id,
            limits_of(row).scope(KEY, row.id),
            limits_of(row, "project_").scope(PROJECT, row.project_id),
            limits_of(row, "organization_").scope(ORGANIZATION, row.organization_id),
        ),
        access=access_of(row.endpoints, row.cidrs),
        tags=row.tags,
        member=row.member,
    )


def _find_tokens(connection: sa.Connection, hashes: Sequence[str]) -> dict[str, KeyLookup]:
    rows = connection.execute(sa.select(t.access_tokens).where(t.access_tokens.c.key_hash.in_(list(hashes))))
    return {row.key_hash: KeyLookup(Principal(row.id, "", "", is_operator=True), row.revoked_at_us) for row in rows}


def limits_of(row: Any, prefix: str = "") -> Limits:
    """Returns the limits in a row; their columns have names with this prefix."""
    return Limits(*(getattr(row, prefix + name) for name in LIMIT_COLUMNS))


def _row_of(key_hash: str, record: KeyRecord, pepper_id: str) -> dict[str, Any]:
    return {
        "id": record.id,
        "organization_id": record.organization_id,
        "project_id": record.project_id,
        "name": record.name,
        "key_hash": key_hash,
        "pepper_id": pepper_id,
        "last_four": record.last_four,
        "models": None if record.models is None else list(record.models),
        "endpoints": None if record.endpoints is None else list(record.endpoints),
        "cidrs": None if record.cidrs is None else list(record.cidrs),
        "tags": ",".join(record.tags),
        "member": record.member,
        "created_at_us": record.created_at_us,
        "revoked_at_us": record.revoked_at_us,
        "expires_at_us": record.expires_at_us,
        **{name: getattr(record.limits, name) for name in LIMIT_COLUMNS},
    }


def _record_of(row: Any) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        organization_id=row.organization_id,
        project_id=row.project_id,
        name=row.name,
        last_four=row.last_four,
        created_at_us=row.created_at_us,
        revoked_at_us=row.revoked_at_us,
        expires_at_us=row.expires_at_us,
        models=None if row.models is None else tuple(row.models),
        endpoints=None if row.endpoints is None else tuple(row.endpoints),
        cidrs=None if row.cidrs is None else tuple(row.cidrs),
        tags=tuple(row.tags.split(",")) if row.tags else (),
        member=row.member,
        limits=limits_of(row),
    )


class SqlVersionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def declared(self) -> dict[str, bytes]:
        query = sa.select(t.declared.c.owner, t.declared.c.resources)
        return await self._database.read(lambda c: {row.owner: bytes(row.resources) for row in c.execute(query)})

    async def publish(self, declared: dict[str, bytes], digest: str, document: bytes, at_us: int) -> StoredVersion:
        def work(connection: sa.Connection) -> StoredVersion:
            sequence = bump(connection, "version", "", at_us)
            for owner, resources in declared.items():
                connection.execute(t.declared.delete().where(t.declared.c.owner == owner))
                if resources:
                    connection.execute(
                        t.declared.insert().values(owner=owner, resources=resources, updated_at_us=at_us)
                    )
            current = _current(connection)
            if current is not None and current.digest == digest:
                return current
            known = sa.select(t.config_documents.c.digest).where(t.config_documents.c.digest == digest)
            if connection.execute(known).first() is None:
                connection.execute(
                    t.config_documents.insert().values(digest=digest, document=document, created_at_us=at_us)
                )
            connection.execute(
                t.config_versions.insert().values(sequence=sequence, digest=digest, published_at_us=at_us)
            )
            return StoredVersion(digest, sequence)

        return await self._database.write(work)

    async def current(self) -> StoredVersion | None:
        return await self._database.read(_current)

    async def document(self, digest: str) -> bytes | None:
        query = sa.select(t.config_documents.c.document).where(t.config_documents.c.digest == digest)
        found = await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())
        return None if found is None else bytes(found)


def _current(connection: sa.Connection) -> StoredVersion | None:
    row = connection.execute(
        sa.select(t.config_versions).order_by(t.config_versions.c.sequence.desc()).limit(1)
    ).first()
    return None if row is None else StoredVersion(row.digest, row.sequence)
