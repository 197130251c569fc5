"""What is kept in a database and must not be read there: sealed with AES-256-GCM, each value under a key of its own.

That key lies beside it, wrapped by a key that is elsewhere: whoever has only the database reads nothing.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
# The first byte of what is sealed: another way to seal gets another one. The first way had no keys of values.
_WITHOUT_ENVELOPE: Final = b"\x01"
_VERSION: Final = b"\x02"
_BODY: Final = len(_VERSION) + _ID_BYTES + 2

RandomBytes = Callable[[int], bytes]


class CannotOpen(ValueError):  # noqa: N818 - a state of what is kept, more than a fault.
    """It was sealed by a key that is not here, for something else, or it was changed."""


class WrappingKeys(Protocol):
    """The keys that wrap others, wherever they are; `current` is the id, of 4 bytes, of the one that wraps."""

    current: bytes

    def wrap(self, data: bytes, about: bytes) -> bytes:
        """Returns `data` encrypted under the current key; who opens it must say the same `about`."""

    def unwrap(self, key_id: bytes, wrapped: bytes, about: bytes) -> bytes:
        """Returns what was wrapped under the key with this id. Raises CannotOpen."""


class KeyRing:
    """Keys of a file or a variable: wraps with the first, unwraps with each; so a new one is put before the old."""

    def __init__(self, keys: Sequence[bytes], random_bytes: RandomBytes = os.urandom) -> None:  # noqa: TID251 - tests hand in their own.
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise ValueError(f"a key has {_KEY_BYTES} bytes, which are {2 * _KEY_BYTES} digits in hex")
        self._ciphers = {_id_of(key): AESGCM(key) for key in keys}
        self.current = _id_of(keys[0])
        self._random_bytes = random_bytes

    def wrap(self, data: bytes, about: bytes) -> bytes:
        nonce = self._random_bytes(_NONCE_BYTES)
        return nonce + self._ciphers[self.current].encrypt(nonce, data, about)

    def unwrap(self, key_id: bytes, wrapped: bytes, about: bytes) -> bytes:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise CannotOpen("sealed by a key that is not in the file")
        return _opened(cipher, wrapped, about)


class Envelopes:
    """Seals and opens values with keys of their own under `keys`."""

    def __init__(self, keys: WrappingKeys, random_bytes: RandomBytes = os.urandom) -> None:  # noqa: TID251 - tests hand in their own.
        self._keys = keys
        self._random_bytes = random_bytes

    def seal(self, data: bytes, about: bytes) -> bytes:
        """Returns `data` sealed; who opens it must say the same `about`."""
        key, nonce = self._random_bytes(_KEY_BYTES), self._random_bytes(_NONCE_BYTES)
        return self._wrapped(key, about) + nonce + AESGCM(key).encrypt(nonce, data, about)

    def is_current(self, sealed: bytes) -> bool:
        """Says whether the current key opens this; what it does not is renewed before the older one may go."""
        return sealed.startswith(_VERSION + self._keys.current)

    def renewed(self, sealed: bytes, about: bytes) -> bytes:
        """Returns the same value under the current key: its own key wrapped again. Raises CannotOpen."""
        if sealed.startswith(_WITHOUT_ENVELOPE):
            return self.seal(self.open(sealed, about), about)
        key, body = self._unwrapped(sealed, about)
        return self._wrapped(key, about) + body

    def open(self, sealed: bytes, about: bytes) -> bytes:
        """Returns what was sealed. Raises CannotOpen."""
        if sealed.startswith(_WITHOUT_ENVELOPE):
            return self._keys.unwrap(sealed[1 : 1 + _ID_BYTES], sealed[1 + _ID_BYTES :], about)
        key, body = self._unwrapped(sealed, about)
        return _opened(AESGCM(key), body, about)

    def _wrapped(self, key: bytes, about: bytes) -> bytes:
        wrapped = self._keys.wrap(key, about)
        return _VERSION + self._keys.current + len(wrapped).to_bytes(2, "big") + wrapped

    def _unwrapped(self, sealed: bytes, about: bytes) -> tuple[bytes, bytes]:
        if not sealed.startswith(_VERSION):
            raise CannotOpen("sealed in a way that is not known here")
        end = _BODY + int.from_bytes(sealed[_BODY - 2 : _BODY], "big")
        return self._keys.unwrap(sealed[1 : 1 + _ID_BYTES], sealed[_BODY:end], about), sealed[end:]


def _opened(cipher: AESGCM, sealed: bytes, about: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about)
    except (InvalidTag, ValueError):
        raise CannotOpen("sealed for something else, or changed since") from None


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_ID_BYTES]
