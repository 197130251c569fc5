"""Pictures and files in requests: base64 that a provider can read, and addresses that it may be sent to."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from tollgate_router.errors import Refused

_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDING: Final = frozenset((b"", b"=", b"=="))
# Some write the letters of addresses, as Gemini's packages do, or break lines.
_TO_USUAL: Final = bytes.maketrans(b"-_", b"+/")
_BLANKS: Final = b" \t\r\n"
# Names that mean another host to whoever asks, and numbers that some readers take for an address.
_INWARD: Final = (".localhost", ".local", ".internal", ".home.arpa", ".lan")
_NUMERIC: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")


def base64_of(data: str, where: str, param: str) -> str:
    """Returns base64 in its usual letters, padded and without blanks. Raises Refused for what is none.

    1 MB takes 2 ms: bytes.translate is the quickest look at every letter that there is.
    """
    if not data.isascii():
        raise Refused(f"{where}: not base64.", param)
    raw = data.encode()
    rest = raw.translate(None, _LETTERS)
    if raw and rest in _PADDING and raw.endswith(rest) and not len(raw) % 4:
        return data
    raw = raw.translate(_TO_USUAL, _BLANKS).rstrip(b"=")
    if not raw or raw.translate(None, _LETTERS) or len(raw) % 4 == 1:
        raise Refused(f"{where}: {'not base64' if raw else 'no data'}.", param)
    return (raw + b"=" * (-len(raw) % 4)).decode()


def split_data_url(url: str, where: str, param: str) -> tuple[str, str]:
    """Returns type and base64 data of `data:TYPE;base64,DATA`. Raises Refused."""
    head, comma, data = url.removeprefix("data:").partition(",")
    mime, _, coding = head.partition(";")
    if not comma or coding.rpartition(";")[2].strip() != "base64":
        raise Refused(f"{where}: expected data:TYPE;base64,DATA.", param)
    return mime.strip().lower(), base64_of(data, where, param)


def address_of(url: str, where: str, param: str) -> str:
    """Returns an address that the provider is to fetch from. Raises Refused for one that no outsider may be sent to.

    The provider asks, not this gateway, so that names are not resolved here.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        known = parts.scheme in {"http", "https"} and bool(host) and (parts.port is None or parts.port > 0)
    except ValueError:
        known, host = False, ""
    # A backslash ends the host to some readers, and stands within it to others.
    if not known or "\\" in url or any(letter <= " " for letter in url):
        raise Refused(f"{where}: expected an http or https address, or data:TYPE;base64,DATA.", param)
    if not _is_public(host):
        raise Refused(f"{where}: the host is not a public one.", param)
    return url


def _is_public(host: str) -> bool:
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if not host.isascii():
            try:
                # As who asks for it writes it: digits and full stops of other scripts become plain ones.
                host = host.encode("idna").decode()
            except UnicodeError:
                return False
            return _is_public(host)
        last = host.rpartition(".")[2]
        return "%" not in host and "." in host and not host.endswith(_INWARD) and _NUMERIC.fullmatch(last) is None
    if isinstance(found, ipaddress.IPv6Address):
        # An address of the other kind within one is judged as itself.
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        found = inner or found
    return found.is_global and not found.is_multicast and not found.is_reserved
