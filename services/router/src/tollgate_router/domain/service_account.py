"""A service account of Google's cloud: what its key file says, and the assertion that asks for an access token."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_LIFE_SECONDS: Final = 3600
# A clock that is a little ahead must not make an assertion one of the future.
_EARLIER_SECONDS: Final = 10

Sign = Callable[[bytes], bytes]
"""RSA with SHA-256 by the account's private key."""


class InvalidAccount(ValueError):  # noqa: N818
    """The text is no key file of a service account; the message says what is wrong and nothing of the text."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    email: str
    key_id: str
    token_url: str
    sign: Sign = field(repr=False, compare=False)
    vendor: str = "google"
    hidden: str = ""
    """The key is not sent, so that nobody can repeat it."""

    def form(self, now_us: int) -> bytes:
        """Returns the body that asks for a token; `now_us` is microseconds since the epoch."""
        issued = now_us // 1_000_000 - _EARLIER_SECONDS
        header = {"alg": "RS256", "typ": "JWT", "kid": self.key_id}
        claims = {
            "iss": self.email,
            "scope": _SCOPE,
            "aud": self.token_url,
            "iat": issued,
            "exp": issued + _LIFE_SECONDS,
        }
        signed = _encoded(_json(header)) + b"." + _encoded(_json(claims))
        assertion = signed + b"." + _encoded(self.sign(signed))
        return urlencode({"grant_type": _GRANT, "assertion": assertion.decode()}).encode()


def parse_account(text: str, load_key: Callable[[str], Sign], *, private_network: bool = False) -> ServiceAccount:
    """Returns the account of a key file. `load_key` makes a signer of PEM and raises ValueError with what is wrong.

    Tokens are fetched without TLS only within a private network. Raises InvalidAccount.
    """
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidAccount("is no JSON: it should be the key file of a service account") from None
    if not isinstance(found, dict) or found.get("type") != "service_account":
        raise InvalidAccount('is no key file of a service account: its "type" is another')
    values: dict[str, str] = {}
    for name in ("client_email", "private_key", "private_key_id", "token_uri"):
        value = found.get(name)
        if not isinstance(value, str) or not value or not value.isascii():
            raise InvalidAccount(f'has no "{name}"')
        values[name] = value
    allowed = ("https://", "http://") if private_network else ("https://",)
    if not values["token_uri"].startswith(allowed):
        raise InvalidAccount('has a "token_uri" that is no https:// address')
    try:
        sign = load_key(values["private_key"])
    except ValueError as error:
        raise InvalidAccount(f'has a "private_key" that {error}') from None
    return ServiceAccount(values["client_email"], values["private_key_id"], values["token_uri"], sign)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
