"""Follows the configuration version in force: from the copy on disk while edge is away, from edge once it is there.

Edge may run as several processes or not at all; a version is applied when its bytes hash to its digest, never else.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from grpc import aio

from tollgate.config.v1 import config_pb2, config_pb2_grpc
from tollgate_kit.grpc_io import new_channel

log = logging.getLogger(__name__)

_FILE: Final = "config-version.json"
_CALL_SECONDS: Final = 10.0
_FIRST_RETRY_SECONDS: Final = 0.1
_LAST_RETRY_SECONDS: Final = 2.0

Apply = Callable[[str, bytes], None]


class ConfigClient:
    """Calls `apply(digest, document)` for each version, in the event loop.

    A version that `apply` refuses with a ValueError is logged, and the one before stays in force, on disk too.
    """

    def __init__(self, addresses: Sequence[str], state_directory: Path, apply: Apply) -> None:
        self._addresses = tuple(addresses)
        self._path = state_directory / _FILE
        self._apply = apply
        self._next = 0
        self._refused = ""
        self._saving: asyncio.Future[None] | None = None
        self.digest = ""
        self.connected = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Applies the copy on disk, then follows edge until `stopping`."""
        self._load()
        stop = asyncio.ensure_future(stopping.wait())
        delay = _FIRST_RETRY_SECONDS
        try:
            while not stopping.is_set():
                before = self.digest
                follow = asyncio.ensure_future(self._follow())
                await asyncio.wait({follow, stop}, return_when=asyncio.FIRST_COMPLETED)
                if not follow.done():
                    follow.cancel()
                with contextlib.suppress(asyncio.CancelledError, aio.AioRpcError, OSError):
                    await follow
                self.connected = False
                delay = _FIRST_RETRY_SECONDS if self.digest != before else min(delay * 2, _LAST_RETRY_SECONDS)
                await asyncio.wait({stop}, timeout=delay)
        finally:
            stop.cancel()
            if self._saving is not None:
                # Whoever starts next is to find what was applied last.
                await asyncio.wait({self._saving})

    def missing(self) -> str | None:
        """Says for /readyz what is missing, if anything is."""
        return None if self.digest else "no configuration version has arrived from edge"

    async def _follow(self) -> None:
        """Watches one edge process until the stream ends; the next call asks the next one."""
        address = self._addresses[self._next % len(self._addresses)]
        self._next += 1
        channel = new_channel(address)
        try:
            stub = config_pb2_grpc.ConfigServiceStub(channel)  # type: ignore[no-untyped-call]
            async for reply in stub.WatchVersions(config_pb2.WatchVersionsRequest()):
                self.connected = True
                await self._take(stub, reply.version.digest)
        except aio.AioRpcError as error:
            log.debug("edge is away", extra={"fields": {"address": address, "code": error.code().name}})
        finally:
            await channel.close()

    async def _take(self, stub: config_pb2_grpc.ConfigServiceStub, digest: str) -> None:
        if digest in {self.digest, self._refused}:
            return
        request = config_pb2.GetVersionRequest(digest=digest)
        document = (await stub.GetVersion(request, timeout=_CALL_SECONDS)).document
        if self._accept(digest, document):
            self._saving = asyncio.ensure_future(self._save(document))
            await asyncio.shield(self._saving)

    async def _save(self, document: bytes) -> None:
        try:
            await asyncio.to_thread(write_atomically, self._path, document)
        except OSError as error:
            log.warning("the copy of the configuration cannot be kept", extra={"fields": {"error": str(error)}})

    def _accept(self, digest: str, document: bytes) -> bool:
        if _digest(document) != digest:
            log.error("a configuration version does not match its digest", extra={"fields": {"digest": digest}})
            return False
        try:
            self._apply(digest, document)
        except ValueError:
            log.exception("a configuration version is refused", extra={"fields": {"digest": digest}})
            self._refused = digest
            return False
        self.digest, self._refused = digest, ""
        return True

    def _load(self) -> None:
        """The digest of the copy is taken of its bytes: it was written whole or not at all."""
        try:
            document = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("the copy of the configuration cannot be read", extra={"fields": {"error": str(error)}})
            return
        if self._accept(_digest(document), document):
            log.info("started from the copy on disk", extra={"fields": {"digest": self.digest[:19]}})


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replaces a file as a whole and makes it durable. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _digest(document: bytes) -> str:
    return "sha256:" + hashlib.sha256(document).hexdigest()
