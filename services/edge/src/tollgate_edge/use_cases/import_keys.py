"""Takes over keys of another gateway: whoever uses them goes on with the key they have.

Of a key its SHA-256 is enough, which other gateways keep or which can be computed where the keys are. What is stored is
a keyed hash of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tollgate_edge.domain.keys import IMPORTED, Pepper, imported_hash
from tollgate_edge.domain.limits import NO_LIMITS, Limits
from tollgate_edge.domain.names import clean_name
from tollgate_edge.ports import KeyRecord, KeyStore, Project, TenantStore
from tollgate_kit.clock import Clock
from tollgate_kit.ids import Ids


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A key to be taken over. `digest` is the SHA-256 of the whole key, 32 bytes; the rest as in `KeyRecord`."""

    digest: bytes
    name: str
    last_four: str = ""
    models: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    cidrs: tuple[str, ...] | None = None
    expires_at_us: int = 0
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class TakenOver:
    """`is_new` is False for a key that was here before; it stays as it is, revoked ones too."""

    id: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class ImportKeys:
    """`peppers`: the first is the one that new hashes are made with."""

    store: KeyStore
    tenants: TenantStore
    peppers: Sequence[Pepper]
    clock: Clock
    ids: Ids

    async def __call__(self, project: Project, keys: Sequence[ForeignKey]) -> list[TakenOver]:
        """Returns what became of each, in order: all that are new are stored, or none.

        Raises ValueError for a bad name, Conflict when somebody else imports one of them just then, StoreUnavailable.
        """
        records = [self._record(project, key) for key in keys]
        known = await self._known(keys)
        pepper = self.peppers[0]
        new = {
            imported_hash(key.digest, pepper): record
            for key, record in zip(keys, records, strict=True)
            if key.digest not in known
        }
        if new:
            # First: a process that hears of the keys must know where to look for them.
            await self.tenants.set_done(IMPORTED, self.clock.now_us())
            await self.store.add_keys(new, pepper.id)
        return [
            TakenOver(known.get(key.digest, record.id), is_new=key.digest not in known)
            for key, record in zip(keys, records, strict=True)
        ]

    async def _known(self, keys: Sequence[ForeignKey]) -> dict[bytes, str]:
        """Returns SHA-256 → id of those that are here already, whichever pepper they were hashed with."""
        digests = {imported_hash(key.digest, pepper): key.digest for key in keys for pepper in self.peppers}
        found, _ = await self.store.find_keys(tuple(digests))
        return {digests[one]: lookup.principal.api_key_id for one, lookup in found.items()}

    def _record(self, project: Project, key: ForeignKey) -> KeyRecord:
        return KeyRecord(
            id=self.ids.new("key"),
            organization_id=project.organization_id,
            project_id=project.id,
            name=clean_name(key.name),
            last_four=key.last_four,
            created_at_us=self.clock.now_us(),
            expires_at_us=key.expires_at_us,
            models=key.models,
            endpoints=key.endpoints,
            cidrs=key.cidrs,
            limits=key.limits,
        )
