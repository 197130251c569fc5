"""Short-lived links to an asset or to evidence, for whoever was given one: signed, without a key."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

from tollgate_kit.clock import Clock


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose asset it is."""

    organization_id: str
    project_id: str


class LinkSigner:
    """`secret` is any secret of the installation; the signing key is derived from it, one for each kind of link."""

    def __init__(self, secret: bytes, clock: Clock, seconds: int, kind: str = "asset") -> None:
        self._key = hmac.new(secret, f"tollgate {kind} link".encode(), hashlib.sha256).digest()
        self._clock = clock
        self._seconds = seconds

    def query(self, asset_id: str, owner: Owner, seconds: int = 0) -> str:
        """Returns `exp=…&sig=…`; the signature carries the owner, so that the link needs no key. 0: the usual time."""
        expires = self._clock.now_us() // 1_000_000 + (seconds or self._seconds)
        names = f"{owner.organization_id}/{owner.project_id}".encode()
        return f"exp={expires}&sig={_encode(names)}.{_encode(self._mac(asset_id, names, expires))}"

    def owner(self, asset_id: str, expires: str, signature: str) -> Owner | None:
        """Returns whose asset it is, or None for a link that is forged, for something else, or too old."""
        named, _, mac = signature.partition(".")
        try:
            names, presented = _decode(named), _decode(mac)
        except (binascii.Error, ValueError):
            return None
        if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
            return None
        if not hmac.compare_digest(self._mac(asset_id, names, int(expires)), presented):
            return None
        if int(expires) * 1_000_000 < self._clock.now_us():
            return None
        organization_id, _, project_id = names.decode().partition("/")
        return Owner(organization_id, project_id)

    def _mac(self, asset_id: str, names: bytes, expires: int) -> bytes:
        return hmac.new(self._key, b"%s\0%s\0%d" % (asset_id.encode(), names, expires), hashlib.sha256).digest()


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decode(value: str) -> bytes:
    if not value.isascii():
        raise ValueError("not base64")
    return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
