"""What is kept in a database and must not be read there: sealed with AES-256-GCM under keys that lie in a file."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tollgate_kit.config_client import write_atomically

_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
# The first byte of what is sealed: another way to seal gets another one.
_VERSION: Final = b"\x01"

RandomBytes = Callable[[int], bytes]


class CannotOpen(ValueError):  # noqa: N818 - a state of what is kept, more than a fault.
    """It was sealed by a key that is not in the file, for something else, or it was changed."""


class KeyRing:
    """Seals with the first key; opens with each of them, so that a new one is put before the old ones."""

    def __init__(self, keys: Sequence[bytes], random_bytes: RandomBytes = os.urandom) -> None:
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise ValueError(f"a key has {_KEY_BYTES} bytes, which are {2 * _KEY_BYTES} digits in hex")
        self._ciphers = {_id_of(key): AESGCM(key) for key in keys}
        self._first = _id_of(keys[0])
        self._random_bytes = random_bytes

    def seal(self, data: bytes, about: bytes) -> bytes:
        """Returns `data` sealed; who opens it must say the same `about`."""
        nonce = self._random_bytes(_NONCE_BYTES)
        return _VERSION + self._first + nonce + self._ciphers[self._first].encrypt(nonce, data, about)

    def is_current(self, sealed: bytes) -> bool:
        """Says whether this was sealed with the first key; what was not is sealed again before its key may go."""
        return sealed.startswith(_VERSION + self._first)

    def open(self, sealed: bytes, about: bytes) -> bytes:
        """Returns what was sealed. Raises CannotOpen."""
        start = len(_VERSION) + _ID_BYTES
        cipher = self._ciphers.get(sealed[len(_VERSION) : start])
        if not sealed.startswith(_VERSION) or cipher is None:
            raise CannotOpen("sealed by a key that is not in the file")
        try:
            return cipher.decrypt(sealed[start : start + _NONCE_BYTES], sealed[start + _NONCE_BYTES :], about)
        except (InvalidTag, ValueError):
            raise CannotOpen("sealed for something else, or changed since") from None


def read_secrets(path: Path, random_bytes: RandomBytes = os.urandom) -> tuple[bytes, ...]:
    """Returns the secrets of a file, one in hex per line; makes the file (mode 0600) with one when it is absent.

    Workers that start together end up with the same one. Raises OSError, and ValueError for a file without any.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        write_atomically(draft, random_bytes(_KEY_BYTES).hex().encode() + b"\n")
        try:
            # A link fails when another worker was faster.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    found = tuple(bytes.fromhex(line) for line in path.read_text().split())
    if not found:
        raise ValueError(f"{path} holds no secret")
    return found


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_ID_BYTES]
