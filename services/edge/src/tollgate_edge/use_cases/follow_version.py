"""The version in force, as edge needs it: read once per publish, swapped in by one assignment."""

import asyncio
from collections.abc import AsyncIterator

from tollgate_edge.ports import EdgeModel, EdgeVersion, StoredVersion, VersionStore
from tollgate_resources import VersionDocument, parse_version


class VersionHolder:
    """Holds the current version; `refresh` asks the store whether there is a newer one."""

    def __init__(self, store: VersionStore) -> None:
        self._store = store
        self._current: EdgeVersion | None = None
        self._changed = asyncio.Event()

    def current(self) -> EdgeVersion | None:
        """Returns the version in force; None before the first was published."""
        return self._current

    def digest(self) -> str:
        """Returns the digest of the version in force; empty before the first was published."""
        return "" if self._current is None else self._current.digest

    def missing(self) -> str | None:
        """Says for /readyz what is missing."""
        return None if self._current is not None else "no configuration version is published"

    async def refresh(self) -> None:
        """Swaps in what the store says is in force. Raises StoreUnavailable, or ValueError for a broken document."""
        stored = await self._store.current()
        if stored is None or (self._current is not None and stored.sequence == self._current.sequence):
            return
        document = await self._store.document(stored.digest)
        if document is None:
            raise ValueError(f"the document of version {stored.digest} is not stored")
        self._current = await asyncio.to_thread(_build, stored, document)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def watch(self, stopping: asyncio.Event) -> AsyncIterator[EdgeVersion]:
        """Yields the version in force, then each later one, until `stopping`."""
        stop = asyncio.ensure_future(stopping.wait())
        seen = -1
        try:
            while not stopping.is_set():
                changed, current = self._changed, self._current
                if current is not None and current.sequence != seen:
                    seen = current.sequence
                    yield current
                    continue
                waiting = asyncio.ensure_future(changed.wait())
                await asyncio.wait({waiting, stop}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        finally:
            stop.cancel()


def _build(stored: StoredVersion, document: bytes) -> EdgeVersion:
    parsed = parse_version(document)
    groups = {group for channel in parsed.channels for group in channel.groups}
    return EdgeVersion(
        digest=stored.digest,
        sequence=stored.sequence,
        price_table=parsed.price_table(),
        models={group: _models(parsed, group) for group in groups},
    )


def _models(parsed: VersionDocument, group: str) -> dict[str, EdgeModel]:
    return {
        model.name: EdgeModel(
            name=model.name,
            mode=model.kind,
            owned_by=model.owned_by or model.provider,
            created=model.created,
            context=model.context_tokens or 0,
            max_output=model.max_output_tokens or 0,
        )
        for model in parsed.models_of(group)
    }
