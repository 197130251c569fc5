"""Ids: a prefix that names the kind, then time-ordered random characters."""

import hashlib
import os
import time
from typing import Protocol

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# Any constant will do; it must never change, since event ids are compared across versions.
_EVENT_HASH = hashlib.sha1(bytes.fromhex("6f1d7b0c5b1e4c0f9a3ee0a8a6c2d951"), usedforsecurity=False)
# The bytes of a uuid that say which kind it is, by what the hash has there.
_VERSION = tuple(bytes((byte & 0x0F | 0x50,)) for byte in range(256))
_VARIANT = tuple(bytes((byte & 0x3F | 0x80,)) for byte in range(256))


class Ids(Protocol):
    def new(self, prefix: str) -> str:
        """A fresh id such as `req_01j9z…`, unique across processes."""


class RandomIds:
    def new(self, prefix: str) -> str:
        # A ULID whose first 8 random bits are a fraction of its millisecond: ids made 4 us apart sort (RFC 9562, 6.2).
        value = (time.time_ns() * 256 // 1_000_000) << 72 | int.from_bytes(os.urandom(9), "big")
        return f"{prefix}_{encode_base32(value, 26)}"


class CountingIds:
    """Ids for tests: `req_1`, `req_2` and so on."""

    def __init__(self) -> None:
        self._count = 0

    def new(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._count}"


def encode_base32(value: int, length: int) -> str:
    """Returns `length` Crockford characters, most significant first; sorts as the number does."""
    characters = []
    for _ in range(length):
        characters.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(characters))


def event_id(request_id: str, number_of_try: int, attempt: int, source: int) -> bytes:
    """Returns the 16 bytes of uuid5(request_id, try, attempt, source): the same event always has the same id."""
    name = f"{request_id}/{number_of_try}/{attempt}/{source}".encode()
    # A copy costs a third of a new hash, which OpenSSL has to look up.
    hashed = _EVENT_HASH.copy()
    hashed.update(name)
    digest = hashed.digest()
    return digest[:6] + _VERSION[digest[6]] + digest[7:8] + _VARIANT[digest[8]] + digest[9:16]
