"""API keys and access tokens: how they look, and the keyed hash that is stored instead of them."""

import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

KEY_PREFIX: Final = "sk-tg-"
TOKEN_PREFIX: Final = "pat-tg-"  # noqa: S105 - a prefix, not a secret.
# 33 characters of 62 hold 196 bits.
_RANDOM_CHARACTERS: Final = 33
_RANDOM_BYTES: Final = 24
_CHECKSUM_CHARACTERS: Final = 6
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MAX_BYTES: Final = 512
# Shorter ones could be found by trying.
MIN_FOREIGN_CHARACTERS: Final = 16
# Done once a key of another gateway was taken over.
IMPORTED: Final = "keys imported"


class Secret:
    """A string that shows itself only when asked to by `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Returns the secret."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Pepper:
    """The secret that hashes are keyed with. `id` names it in the database and gives nothing away."""

    id: str
    value: bytes

    def __repr__(self) -> str:
        return f"Pepper(id={self.id!r}, value=***)"


def pepper_of(value: bytes) -> Pepper:
    """Returns the pepper with its id. Raises ValueError when it is shorter than 32 bytes."""
    if len(value) < 32:
        raise ValueError("a pepper has at least 32 bytes")
    return Pepper(hashlib.sha256(b"tollgate pepper id\0" + value).hexdigest()[:16], value)


def new_key(prefix: str, random_bytes: Callable[[int], bytes]) -> Secret:
    """Returns a fresh key: prefix, 192 random bits, checksum."""
    body = prefix + _base62(int.from_bytes(random_bytes(_RANDOM_BYTES), "big"), _RANDOM_CHARACTERS)
    return Secret(body + _checksum(body))


def is_well_formed(presented: bytes) -> bool:
    """Says whether this can be one of ours, from its shape and checksum alone: garbage never reaches the store."""
    if len(presented) > _MAX_BYTES:
        return False
    try:
        text = presented.decode("ascii")
    except UnicodeDecodeError:
        return False
    for prefix in (KEY_PREFIX, TOKEN_PREFIX):
        if text.startswith(prefix) and len(text) == len(prefix) + _RANDOM_CHARACTERS + _CHECKSUM_CHARACTERS:
            return hmac.compare_digest(_checksum(text[:-_CHECKSUM_CHARACTERS]), text[-_CHECKSUM_CHARACTERS:])
    return False


def may_be_foreign(presented: bytes) -> bool:
    """Says whether this can be a key that another gateway made: printable ASCII without blanks, and none of ours."""
    if not MIN_FOREIGN_CHARACTERS <= len(presented) <= _MAX_BYTES:
        return False
    if presented.startswith((KEY_PREFIX.encode(), TOKEN_PREFIX.encode())):
        return False
    return all(0x21 <= byte <= 0x7E for byte in presented)


def keyed_hash(presented: bytes, pepper: Pepper) -> str:
    """Returns what is stored of a key: 64 hex digits of HMAC-SHA256."""
    return hmac.new(pepper.value, presented, hashlib.sha256).hexdigest()


def imported_hash(digest: bytes, pepper: Pepper) -> str:
    """Returns what is stored of a key that only its SHA-256 is known of, whose 32 bytes are `digest`.

    It is keyed like every other, so that who reads the database can use neither. No key can begin with the NUL: a
    digest that was presented as a key would hash to something else.
    """
    return keyed_hash(b"\0sha256\0" + digest, pepper)


def last_four(key: Secret) -> str:
    """Returns what is shown of a key later."""
    return key.reveal()[-4:]


def _checksum(body: str) -> str:
    return _base62(binascii.crc32(body.encode()), _CHECKSUM_CHARACTERS)


def _base62(value: int, length: int) -> str:
    characters = []
    for _ in range(length):
        value, digit = divmod(value, 62)
        characters.append(_ALPHABET[digit])
    return "".join(reversed(characters))
