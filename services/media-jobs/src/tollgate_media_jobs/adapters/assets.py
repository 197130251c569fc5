"""Bytes by key in a local directory, an S3-compatible bucket or memory, through obstore."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, S3Store

from tollgate_media_jobs.errors import BlobsUnavailable

PIECE_BYTES: Final = 64 * 1024
_RETRIES: Final = 4


def new_store(url: str) -> Any:
    """Returns the store at `file:///DIRECTORY`, `s3://BUCKET/PREFIX` or `memory:///`. Raises ValueError for others.

    A bucket's address, region and credentials come from the usual AWS_* variables.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        return LocalStore(Path(unquote(parts.path)), mkdir=True)
    if parts.scheme == "s3" and parts.netloc:
        prefix = parts.path.strip("/")
        return S3Store(parts.netloc, prefix=prefix or None, retry_config={"max_retries": _RETRIES})
    if parts.scheme == "memory":
        return MemoryStore()
    raise ValueError(f"assets are kept at file:///DIRECTORY, s3://BUCKET/PREFIX or memory:///, found {url!r}")


class ObjectBlobs:
    def __init__(self, store: Any) -> None:
        self._store = store

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        # A local directory keeps no attributes.
        attributes = None if isinstance(self._store, LocalStore) else {"Content-Type": content_type}
        try:
            await obstore.put_async(self._store, key, data, attributes=attributes)
            size = (await obstore.head_async(self._store, key))["size"]
        except (BaseError, OSError) as error:
            raise BlobsUnavailable(_short(error)) from error
        if size != len(data):
            raise BlobsUnavailable(f"{size} of {len(data)} bytes were stored")

    async def get(self, key: str) -> bytes | None:
        try:
            result = await obstore.get_async(self._store, key)
            return bytes(await result.bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise BlobsUnavailable(_short(error)) from error

    async def read(self, key: str) -> AsyncIterator[bytes]:
        try:
            result = await obstore.get_async(self._store, key)
            left = bytearray()
            async for chunk in result.stream(min_chunk_size=PIECE_BYTES):
                left += chunk
                whole = len(left) - len(left) % PIECE_BYTES
                for start in range(0, whole, PIECE_BYTES):
                    yield bytes(left[start : start + PIECE_BYTES])
                del left[:whole]
            if left:
                yield bytes(left)
        except (BaseError, OSError) as error:
            raise BlobsUnavailable(_short(error)) from error

    async def remove_below(self, prefix: str) -> None:
        try:
            listed = obstore.list(self._store, prefix.rstrip("/"))
            paths = [entry["path"] async for page in listed for entry in page]
            if paths:
                await obstore.delete_async(self._store, paths)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise BlobsUnavailable(_short(error)) from error


def _short(error: Exception) -> str:
    # obstore's messages go on with its whole configuration.
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
