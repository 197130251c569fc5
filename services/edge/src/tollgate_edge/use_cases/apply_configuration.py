"""Applies what files and the environment declare, and publishes the version that results."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tollgate_edge.errors import ConfigurationInvalid
from tollgate_edge.ports import StoredVersion, VersionStore
from tollgate_kit.clock import Clock
from tollgate_resources import Catalogue, Declared, Loaded, compile_version, digest, environment_channels, load, merge
from tollgate_resources.environment import OWNER as ENVIRONMENT

_FILE_OWNER: Final = "file:"


@dataclass(frozen=True, slots=True)
class ApplyConfiguration:
    store: VersionStore
    catalogue: Catalogue
    clock: Clock
    environment: Mapping[str, str]
    paths: Sequence[Path]
    simulator_url: str = ""

    async def __call__(self) -> StoredVersion:
        """Reads the files anew, prunes what they no longer declare, and returns the version in force.

        Raises ConfigurationInvalid with every problem, StoreUnavailable.
        """
        loaded = await asyncio.to_thread(load, self.paths, self.catalogue)
        if loaded.problems:
            raise ConfigurationInvalid(loaded.problems)
        before = await self.store.declared()
        after = self._owners(before, loaded)
        document = await asyncio.to_thread(compile_version, merge(after.values()), self.catalogue)
        changed = dict.fromkeys(before.keys() - after.keys(), b"")
        changed |= {owner: _encode(declared) for owner, declared in after.items()}
        changed = {owner: encoded for owner, encoded in changed.items() if encoded != before.get(owner)}
        return await self.store.publish(changed, digest(document), document, self.clock.now_us())

    def _owners(self, before: Mapping[str, bytes], loaded: Loaded) -> dict[str, Declared]:
        owners = {
            owner: Declared.model_validate_json(encoded)
            for owner, encoded in before.items()
            if not owner.startswith(_FILE_OWNER) and owner != ENVIRONMENT
        }
        owners.update(loaded.declared_by_owner)
        if not any(declared.channels for declared in owners.values()):
            declared = [provider for one in owners.values() for provider in one.providers]
            found = environment_channels(self.environment, self.catalogue.with_providers(declared), self.simulator_url)
            if found.channels:
                owners[ENVIRONMENT] = found
        return owners


def _encode(declared: Declared) -> bytes:
    return json.dumps(declared.model_dump(mode="json", exclude_none=True), sort_keys=True).encode()
