"""Secrets at rest: each is encrypted under a key of its own, and that one is wrapped by a key that SQL does not have.

AES-256-GCM both times. What a secret is about (`dst_01…/destination`) is authenticated with it, so that a row's secret
put into another row does not open. Keys are rotated by wrapping again, without touching what they protect.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from tollgate_kit.config_client import write_atomically

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_FORM: Final = "tg1"
_ID_CHARACTERS: Final = 16
RandomBytes = Callable[[int], bytes]


class CannotOpen(Exception):  # noqa: N818 - what it means for a row decides who asked.
    """What was sealed cannot be opened: its key is not here, or it is not what was sealed. Names no secret."""


class WrappingKeys(Protocol):
    """Keys that never leave where they are kept: a file, or a service that wraps for us."""

    @property
    def current(self) -> str:
        """The id of the key that new secrets are wrapped with."""
        ...

    def wrap(self, key: bytes) -> bytes:
        """Returns a key wrapped with the current one."""
        ...

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Returns what was wrapped. Raises CannotOpen."""
        ...


class FileKeys:
    """Keys of a file, 32 bytes in hex per line, the current one first."""

    def __init__(self, keys: tuple[bytes, ...], random_bytes: RandomBytes = os.urandom) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"keys that secrets are sealed with have {KEY_BYTES} bytes in hex, one in each line")
        self._keys = {_id_of(key): key for key in keys}
        self._random_bytes = random_bytes
        self._current = _id_of(keys[0])

    def __repr__(self) -> str:
        return f"FileKeys({', '.join(self._keys)})"

    @property
    def current(self) -> str:
        return self._current

    def wrap(self, key: bytes) -> bytes:
        return _encrypt(self._keys[self._current], key, self._current.encode(), self._random_bytes)

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        known = self._keys.get(key_id)
        if known is None:
            raise CannotOpen(f"it was sealed with the key {key_id[:_ID_CHARACTERS]}, which is not among the keys here")
        return _decrypt(known, wrapped, key_id.encode())


def read_keys(path: Path, random_bytes: RandomBytes = os.urandom) -> FileKeys:
    """Returns the keys of a file; makes one, mode 0600, where there is none.

    Processes that start together end up with the same one. Raises OSError, ValueError.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        write_atomically(draft, random_bytes(KEY_BYTES).hex().encode() + b"\n")
        try:
            # A link fails when another process was faster.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    try:
        keys = tuple(bytes.fromhex(line) for line in path.read_text(encoding="ascii").split())
    except ValueError:
        raise ValueError(f"{path} is no list of keys in hex") from None
    return FileKeys(keys, random_bytes)


class Sealer:
    """Seals and opens secrets."""

    def __init__(self, keys: WrappingKeys, random_bytes: RandomBytes = os.urandom) -> None:
        self._keys = keys
        self._random_bytes = random_bytes

    def seal(self, plain: bytes, about: str) -> str:
        """Returns what may be stored: printable ASCII without blanks."""
        own = self._random_bytes(KEY_BYTES)
        sealed = _encrypt(own, plain, about.encode(), self._random_bytes)
        return f"{_FORM}.{self._keys.current}.{_text(self._keys.wrap(own))}.{_text(sealed)}"

    def open(self, sealed: str, about: str) -> bytes:
        """Returns what was sealed about the same thing. Raises CannotOpen."""
        key_id, wrapped, content = _parts(sealed)
        return _decrypt(self._keys.unwrap(key_id, wrapped), content, about.encode())

    def wrap_again(self, sealed: str) -> str | None:
        """Returns the same secret under the current key; None where it is already. Raises CannotOpen."""
        key_id, wrapped, content = _parts(sealed)
        if key_id == self._keys.current:
            return None
        own = self._keys.unwrap(key_id, wrapped)
        return f"{_FORM}.{self._keys.current}.{_text(self._keys.wrap(own))}.{_text(content)}"


def _id_of(key: bytes) -> str:
    return hashlib.sha256(b"tollgate sealing key id\0" + key).hexdigest()[:_ID_CHARACTERS]


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _parts(sealed: str) -> tuple[str, bytes, bytes]:
    parts = sealed.split(".")
    if len(parts) != 4 or parts[0] != _FORM:
        raise CannotOpen("it is in no form that this release knows")
    try:
        return parts[1], base64.urlsafe_b64decode(parts[2]), base64.urlsafe_b64decode(parts[3])
    except (binascii.Error, ValueError):
        raise CannotOpen("it is damaged") from None


def _encrypt(key: bytes, plain: bytes, about: bytes, random_bytes: RandomBytes) -> bytes:
    # Costs memory, which a process without secrets need not spend.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = random_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, about)


def _decrypt(key: bytes, sealed: bytes, about: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about)
    except (InvalidTag, ValueError):
        raise CannotOpen("it is damaged, or belongs to something else") from None
