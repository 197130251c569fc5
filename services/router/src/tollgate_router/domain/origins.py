"""The origin of a channel: its address, and how it is reached."""

import base64
from collections.abc import Callable
from urllib.parse import urlsplit

from tollgate_resources import Credential, VersionChannel
from tollgate_router.domain.reaching import ORDINARY_TLS, Proxy, Tls
from tollgate_router.domain.secret import Secret
from tollgate_router.domain.target import Origin, split_base_url


def origin_of(channel: VersionChannel, resolve: Callable[[Credential], Secret]) -> tuple[Origin, str]:
    """Returns the origin and the path prefix of a channel's address.

    Raises ValueError for what cannot be an address, and what `resolve` raises for the proxy's credential.
    """
    return split_base_url(
        channel.base_url,
        private_network=channel.private_network,
        tls=_tls(channel),
        proxy=_proxy(channel, resolve),
    )


def _tls(channel: VersionChannel) -> Tls:
    declared = channel.tls
    if declared is None:
        return ORDINARY_TLS
    return Tls(
        ca_file=declared.ca_file or "",
        certificate_file=declared.certificate_file or "",
        key_file=declared.key_file or "",
        server_name=declared.server_name or "",
    )


def _proxy(channel: VersionChannel, resolve: Callable[[Credential], Secret]) -> Proxy | None:
    declared = channel.proxy
    if declared is None:
        return None
    parts = urlsplit(declared.url)
    if not parts.hostname or parts.port is None:
        raise ValueError("the address of a proxy is http://HOST:PORT")
    authorization = ""
    if declared.credential is not None:
        pair = resolve(declared.credential).reveal()
        if ":" not in pair:
            raise ValueError("the credential of a proxy is user:password")
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(
        host=parts.hostname,
        port=parts.port,
        authorization=authorization,
        private_network=declared.private_network,
        resolves=declared.resolve == "proxy",
    )
