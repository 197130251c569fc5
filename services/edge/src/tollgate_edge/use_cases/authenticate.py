"""Who presents this key? A process-local cache by SHA-256 of the key, then the store, where only keyed hashes are.

A row is remembered only while no later change was seen than the one it was read at; whoever changes a key moves the
change sequence, which is polled, so that a revocation is effective everywhere within a second. While the polls fail it
is not: what is remembered is then used for so long and no longer.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.domain.keys import Pepper, imported_hash, is_well_formed, keyed_hash, may_be_foreign
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import StoreUnavailable
from tollgate_edge.ports import Changes, KeyLookup, Refused
from tollgate_edge.use_cases.look_up_keys import KeyLookups
from tollgate_kit.clock import Clock

_MOST_READS: Final = 3
# A database that stands still neither answers nor fails.
_LOOK_UP_SECONDS: Final = 5.0
MALFORMED: Final = Refused("The API key is not one of this gateway. Check that it was copied whole.")
UNKNOWN: Final = Refused("The API key is not known here. Create one, or check which gateway it belongs to.")
REVOKED: Final = Refused("The API key was revoked. Create a new one.")
EXPIRED: Final = Refused("The API key has expired. Create a new one.")
AWAY: Final = Refused("Keys cannot be checked now. Try again in a moment.", errors.ERROR_KIND_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class _Entry:
    found: Principal | Refused
    key_hashes: tuple[str, ...]
    expires_at_us: int


class KeyAuthenticator:
    """`peppers`: the first is the one that new hashes are made with, the others are still accepted.

    What is remembered is used until `unchecked_seconds` after the last `apply`.
    """

    def __init__(
        self,
        lookups: KeyLookups,
        peppers: Sequence[Pepper],
        clock: Clock,
        *,
        max_keys: int,
        max_unknown: int,
        unchecked_seconds: float,
    ) -> None:
        self._lookups = lookups
        self._peppers = tuple(peppers)
        self._clock = clock
        self._max_keys = max_keys
        self._max_unknown = max_unknown
        self._unchecked_seconds = unchecked_seconds
        self._checked = False
        self._used_until = clock.monotonic() + unchecked_seconds
        self._entries: dict[bytes, _Entry] = {}
        self._by_hash: dict[str, bytes] = {}
        self._unknown: dict[bytes, None] = {}
        self._asking: dict[bytes, asyncio.Task[Principal | Refused]] = {}
        self.sequence = 0
        self.reads = 0
        # Keys of another gateway were taken over: then what is none of ours by its shape may be known all the same.
        self.imported = False

    @property
    def size(self) -> int:
        return len(self._entries)

    @property
    def unchecked_seconds(self) -> float:
        """How long it is unknown what has changed; 0 before the first `apply`, when nothing else works either."""
        if not self._checked:
            return 0.0
        return self._clock.monotonic() - self._used_until + self._unchecked_seconds

    def cached(self, presented: bytes) -> Principal | Refused | None:
        """Returns what is known without I/O; None: ask `authenticate`."""
        digest = hashlib.sha256(presented).digest()
        usable = self._clock.monotonic() <= self._used_until
        entry = self._entries.get(digest) if usable else None
        if entry is not None:
            if entry.expires_at_us and self._clock.now_us() >= entry.expires_at_us:
                found = entry.found
                return replace(EXPIRED, principal=found) if isinstance(found, Principal) else found
            return entry.found
        if usable and digest in self._unknown:
            return UNKNOWN
        if is_well_formed(presented) or (self.imported and may_be_foreign(presented)):
            return None
        return MALFORMED

    async def authenticate(self, presented: bytes) -> Principal | Refused:
        """Returns who it is. Callers with the same key share one question to the store. Never raises."""
        found = self.cached(presented)
        if found is not None:
            return found
        digest = hashlib.sha256(presented).digest()
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._ask(presented, digest))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(task)

    def apply(self, changes: Changes) -> None:
        """Forgets what has changed; what is left may be used for so long."""
        self._checked, self._used_until = True, self._clock.monotonic() + self._unchecked_seconds
        self.sequence = max(self.sequence, changes.sequence)
        if changes.key_hashes is None:
            # It goes back when the database was put back from a copy.
            self.sequence = changes.sequence
            self._entries.clear()
            self._by_hash.clear()
            self._unknown.clear()
        elif changes.key_hashes:
            self._unknown.clear()
            for key_hash in changes.key_hashes:
                self._forget(self._by_hash.get(key_hash))
        if changes.tenants:
            self._forget_keys_of(frozenset(changes.tenants))

    def _forget_keys_of(self, tenants: frozenset[str]) -> None:
        """Looks at every key that is remembered: operators change limits of tenants rarely."""
        for digest, entry in tuple(self._entries.items()):
            found = entry.found
            if isinstance(found, Principal) and (found.project_id in tenants or found.organization_id in tenants):
                self._forget(digest)

    async def _ask(self, presented: bytes, digest: bytes) -> Principal | Refused:
        hashes = tuple(keyed_hash(presented, pepper) for pepper in self._peppers)
        if self.imported:
            hashes += tuple(imported_hash(digest, pepper) for pepper in self._peppers)
        found: Principal | Refused = AWAY
        for _ in range(_MOST_READS):
            self.reads += 1
            try:
                async with asyncio.timeout(_LOOK_UP_SECONDS):
                    lookup, sequence = await self._lookups.find(hashes)
            except (StoreUnavailable, TimeoutError):
                return AWAY
            found = self._judge(lookup)
            if sequence >= self.sequence:
                self._remember(digest, hashes, lookup, found)
                break
        return found

    def _judge(self, lookup: KeyLookup | None) -> Principal | Refused:
        if lookup is None:
            return UNKNOWN
        if lookup.revoked_at_us:
            return replace(REVOKED, principal=lookup.principal)
        if lookup.expires_at_us and self._clock.now_us() >= lookup.expires_at_us:
            return replace(EXPIRED, principal=lookup.principal)
        return lookup.principal

    def _remember(
        self, digest: bytes, hashes: tuple[str, ...], lookup: KeyLookup | None, found: Principal | Refused
    ) -> None:
        if lookup is None:
            while len(self._unknown) >= self._max_unknown:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[digest] = None
            return
        while len(self._entries) >= self._max_keys:
            self._forget(next(iter(self._entries)))
        self._entries[digest] = _Entry(found, hashes, lookup.expires_at_us)
        for key_hash in hashes:
            self._by_hash[key_hash] = digest

    def _forget(self, digest: bytes | None) -> None:
        entry = None if digest is None else self._entries.pop(digest, None)
        if entry is not None:
            for key_hash in entry.key_hashes:
                self._by_hash.pop(key_hash, None)
