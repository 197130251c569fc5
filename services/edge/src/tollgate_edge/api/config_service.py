"""Configuration versions for router, billing and media-jobs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc import aio

from tollgate.config.v1 import config_pb2 as config
from tollgate.config.v1 import config_pb2_grpc
from tollgate_edge.errors import StoreUnavailable
from tollgate_edge.ports import VersionStore
from tollgate_edge.use_cases.follow_version import VersionHolder

Context = aio.ServicerContext[Any, Any]


class ConfigService(config_pb2_grpc.ConfigServiceServicer):
    def __init__(self, holder: VersionHolder, store: VersionStore, stopping: asyncio.Event) -> None:
        self._holder = holder
        self._store = store
        self._stopping = stopping

    async def GetCurrentVersion(  # noqa: N802 - the contract names it.
        self, _request: config.GetCurrentVersionRequest, context: Context
    ) -> config.GetCurrentVersionResponse:
        """Returns the version in force, or NOT_FOUND."""
        current = self._holder.current()
        if current is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no version was published")
        assert current is not None
        return config.GetCurrentVersionResponse(version=_ref(current.digest, current.sequence))

    async def GetVersion(  # noqa: N802 - the contract names it.
        self, request: config.GetVersionRequest, context: Context
    ) -> config.GetVersionResponse:
        """Returns a version's bytes, or NOT_FOUND."""
        try:
            document = await self._store.document(request.digest)
        except StoreUnavailable:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the store is away")
        if document is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such version")
        return config.GetVersionResponse(version=_ref(request.digest, 0), document=document)

    async def WatchVersions(  # noqa: N802 - the contract names it.
        self, _request: config.WatchVersionsRequest, _context: Context
    ) -> AsyncIterator[config.WatchVersionsResponse]:
        """Yields the version in force now, then each later one, until edge drains."""
        async with contextlib.aclosing(self._holder.watch(self._stopping)) as versions:
            async for version in versions:
                yield config.WatchVersionsResponse(version=_ref(version.digest, version.sequence))


def _ref(digest: str, sequence: int) -> config.VersionRef:
    return config.VersionRef(digest=digest, sequence=sequence)
