"""An application of Microsoft Entra ID: whose it is, and the form that asks for an access token by its secret."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

_GRANT: Final = "client_credentials"
# A tenant may be named by one of its domains.
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_CLIENT: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


class InvalidId(ValueError):  # noqa: N818
    """The text is no id; the message says what it should be and nothing of the text."""


@dataclass(frozen=True, slots=True)
class Application:
    """`token_url` is whole. `secret` is the client secret."""

    client: str
    token_url: str
    scope: str
    secret: str = field(repr=False)
    vendor: str = "microsoft"

    @property
    def hidden(self) -> str:
        """Returns what must not be shown, whoever says it."""
        return self.secret

    def form(self, now_us: int) -> bytes:
        """Returns the body that asks for a token."""
        del now_us
        said = {"grant_type": _GRANT, "client_id": self.client, "client_secret": self.secret, "scope": self.scope}
        return urlencode(said).encode()


def token_url(authority: str, tenant: str) -> str:
    """Returns where a tenant's tokens are asked for. Raises InvalidId."""
    if not _TENANT.fullmatch(tenant):
        raise InvalidId("holds no tenant: it should be an id, or one of its domains")
    return f"{authority}/{tenant}/oauth2/v2.0/token"


def check_client(client: str) -> str:
    """Returns a client's id. Raises InvalidId."""
    if not _CLIENT.fullmatch(client):
        raise InvalidId("holds no id of an application")
    return client
