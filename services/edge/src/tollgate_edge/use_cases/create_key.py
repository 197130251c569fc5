"""Makes a key: it is shown once, and only its keyed hash is stored."""

from collections.abc import Callable
from dataclasses import dataclass

from tollgate_edge.domain.keys import KEY_PREFIX, Pepper, Secret, keyed_hash, last_four, new_key
from tollgate_edge.domain.limits import NO_LIMITS, Limits
from tollgate_edge.domain.names import clean_name
from tollgate_edge.ports import KeyRecord, KeyStore, Project
from tollgate_kit.clock import Clock
from tollgate_kit.ids import Ids


@dataclass(frozen=True, slots=True)
class CreateKey:
    store: KeyStore
    pepper: Pepper
    clock: Clock
    ids: Ids
    random_bytes: Callable[[int], bytes]

    async def __call__(
        self,
        project: Project,
        name: str,
        *,
        models: tuple[str, ...] | None = None,
        endpoints: tuple[str, ...] | None = None,
        cidrs: tuple[str, ...] | None = None,
        tags: tuple[str, ...] = (),
        member: str = "",
        expires_at_us: int = 0,
        limits: Limits = NO_LIMITS,
    ) -> tuple[KeyRecord, Secret]:
        """Returns the stored record and the key. Raises ValueError for a bad name, StoreUnavailable."""
        key = new_key(KEY_PREFIX, self.random_bytes)
        record = await self.store_key(
            project,
            name,
            key,
            models=models,
            endpoints=endpoints,
            cidrs=cidrs,
            tags=tags,
            member=member,
            expires_at_us=expires_at_us,
            limits=limits,
        )
        return record, key

    async def store_key(
        self,
        project: Project,
        name: str,
        key: Secret,
        *,
        models: tuple[str, ...] | None = None,
        endpoints: tuple[str, ...] | None = None,
        cidrs: tuple[str, ...] | None = None,
        tags: tuple[str, ...] = (),
        member: str = "",
        expires_at_us: int = 0,
        limits: Limits = NO_LIMITS,
    ) -> KeyRecord:
        """Stores a key that was made before."""
        record = KeyRecord(
            id=self.ids.new("key"),
            organization_id=project.organization_id,
            project_id=project.id,
            name=clean_name(name),
            last_four=last_four(key),
            created_at_us=self.clock.now_us(),
            expires_at_us=expires_at_us,
            models=models,
            endpoints=endpoints,
            cidrs=cidrs,
            tags=tags,
            member=member,
            limits=limits,
        )
        await self.store.add_key(record, keyed_hash(key.reveal().encode(), self.pepper), self.pepper.id)
        return record
