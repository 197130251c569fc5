"""TLS towards origins: always verified, at least 1.2, HTTP/1.1 by ALPN, certificates from files that may be renewed."""

import ssl
from pathlib import Path
from typing import Final

from tollgate_router.domain.reaching import Tls

_MAX_CONTEXTS: Final = 256


class TlsContexts:
    """Makes one context for each set of files, and a new one when a file has changed.

    `ca_file`: certificates trusted besides the system's own, for channels that name none.
    """

    def __init__(self, ca_file: Path | None) -> None:
        self._ca_file = str(ca_file) if ca_file is not None else ""
        self._made: dict[Tls, tuple[tuple[int, ...], ssl.SSLContext]] = {}

    def of(self, tls: Tls) -> ssl.SSLContext:
        """Returns the context. Raises OSError or ssl.SSLError for files that are missing or no certificates."""
        files = (tls.ca_file or self._ca_file, tls.certificate_file, tls.key_file)
        state = tuple(_changed_ns(file) for file in files)
        known = self._made.get(tls)
        if known is not None and known[0] == state:
            return known[1]
        context = self._make(tls)
        if len(self._made) >= _MAX_CONTEXTS:
            self._made.clear()
        self._made[tls] = state, context
        return context

    def _make(self, tls: Tls) -> ssl.SSLContext:
        # Verification and host names are on by default. A channel's own certificates leave out everybody else's.
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        if self._ca_file and not tls.ca_file:
            context.load_verify_locations(cafile=self._ca_file)
        if tls.certificate_file:
            context.load_cert_chain(tls.certificate_file, tls.key_file or None, password=_no_password)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context


def _changed_ns(file: str) -> int:
    return Path(file).stat().st_mtime_ns if file else 0


def _no_password() -> str:
    # Without this, OpenSSL would ask on the terminal.
    raise ssl.SSLError("the key is encrypted")
