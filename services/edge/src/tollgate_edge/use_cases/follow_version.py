"""The version in force, as edge needs it: read once per publish, swapped in by one assignment."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Final

from tollgate_edge.ports import EdgeModel, EdgeVersion, StoredVersion, VersionStore
from tollgate_resources import Fallbacks, VersionChannel, VersionDocument, parse_version

_NONE: Final = Fallbacks()


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

    async def watch(self, stopping: asyncio.Event) -> AsyncGenerator[EdgeVersion, None]:
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
                try:
                    await asyncio.wait({waiting, stop}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    # Also when whoever watches has gone, which cancels us here.
                    waiting.cancel()
        finally:
            stop.cancel()


def _build(stored: StoredVersion, document: bytes) -> EdgeVersion:
    parsed = parse_version(document)
    fallbacks = {route.model: route.fallbacks for route in parsed.routes}
    groups = {group for channel in parsed.channels for group in channel.groups}
    return EdgeVersion(
        digest=stored.digest,
        sequence=stored.sequence,
        price_table=parsed.price_table(),
        models={group: _models(parsed, group, fallbacks) for group in groups},
        headers=tuple(name.encode() for name in parsed.headers()),
    )


def _models(parsed: VersionDocument, group: str, fallbacks: Mapping[str, Fallbacks]) -> dict[str, EdgeModel]:
    models = parsed.models_of(group)
    served = {model.name for model in models}
    offers = _offers(parsed, group)
    searches = _searches(offers)
    running = {name for channel, name, _ in offers if channel.responses}
    found = {}
    for model in models:
        declared = fallbacks.get(model.name, _NONE)
        others = (*declared.error, *declared.rate_limit, *declared.context_length, *declared.content_policy)
        found[model.name] = EdgeModel(
            name=model.name,
            mode=model.kind,
            owned_by=model.owned_by or model.provider,
            created=model.created,
            context=model.context_tokens or 0,
            max_output=model.max_output_tokens or 0,
            fallbacks=tuple(name for name in dict.fromkeys(others) if name in served),
            cheaper=tuple(name for name in declared.budget if name in served),
            abilities=model.abilities,
            aliases=tuple(name for name in model.aliases if name in served),
            retires=model.retires,
            searches=searches.get(model.name, 0),
            runs_tools=model.name in running,
        )
    return found


_Offer = tuple[VersionChannel, str, str | None]


def _offers(parsed: VersionDocument, group: str) -> list[_Offer]:
    """Returns each channel that may serve a model, with its public name and the provider's where that is another."""
    serving = {channel.name: channel for channel in parsed.channels if group in channel.groups}
    offers: list[_Offer] = [(one, model.name, model.upstream) for one in serving.values() for model in one.models]
    for route in parsed.routes:
        levels = (*route.levels, *((route.canary,) if route.canary is not None else ()))
        targets = (target for level in levels for target in level.targets if target.channel in serving)
        offers += [(serving[target.channel], route.model, target.upstream) for target in targets]
    return offers


def _searches(offers: Iterable[_Offer]) -> dict[str, int]:
    """Returns the most searches that a model makes on its own, by public name, at any channel that may serve it."""
    found: dict[str, int] = {}
    for channel, name, upstream in offers:
        if channel.quirks is not None and (most := channel.quirks.searches_of(upstream or name)):
            found[name] = max(found.get(name, 0), most)
    return found
