"""Signatures of requests to Amazon's services, version 4: rules only, the standard library only.

The path is encoded once more for what is signed, as every service but S3 has it.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from tollgate_router.domain.signing import Body

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_PARTS: Final = (2, 3)
_MOST_KEY_ID: Final = 128


class InvalidKeys(ValueError):  # noqa: N818
    """The text holds no key pair; the message says what is missing and nothing of the text."""


class KeyPair:
    """An access key: its id, its secret, and the token of a session where it is a temporary one."""

    __slots__ = ("key_id", "secret", "session_token")

    def __init__(self, key_id: str, secret: str, session_token: str = "") -> None:
        self.key_id = key_id
        self.secret = secret
        self.session_token = session_token


def parse_keys(text: str) -> KeyPair:
    """Returns the pair of `ID:SECRET` or `ID:SECRET:SESSION_TOKEN`. Raises InvalidKeys."""
    parts = text.split(":")
    if len(parts) not in _PARTS or not all(parts):
        raise InvalidKeys("is not ACCESS_KEY_ID:SECRET_ACCESS_KEY, with :SESSION_TOKEN behind it for a temporary key")
    if not parts[0].isalnum() or len(parts[0]) > _MOST_KEY_ID:
        raise InvalidKeys("begins with no access key id, which is letters and digits before the first colon")
    return KeyPair(*parts)


class SigV4:
    """Signs for one service in one region."""

    __slots__ = ("_day", "_key", "_keys", "_region", "_service")

    def __init__(self, keys: KeyPair, region: str, service: str) -> None:
        self._keys = keys
        self._region = region
        self._service = service
        self._day = ""
        self._key = b""

    def proof(self, method: bytes, authority: str, path: bytes, body: Body, now_us: int) -> bytes:
        """Returns the header lines that prove a request of JSON; `path` has no query."""
        moment = datetime.fromtimestamp(now_us / 1e6, UTC).strftime("%Y%m%dT%H%M%SZ")
        token = self._keys.session_token
        headers = [("content-type", "application/json"), ("host", authority), ("x-amz-date", moment)]
        lines = f"x-amz-date: {moment}\r\n"
        if token:
            headers.append(("x-amz-security-token", token))
            lines += f"x-amz-security-token: {token}\r\n"
        digest = hashlib.sha256()
        for part in (body,) if isinstance(body, bytes) else body:
            digest.update(part)
        value = self.authorization(method.decode(), path.decode(), "", headers, digest.hexdigest(), moment)
        return f"{lines}authorization: {value}\r\n".encode()

    def wait(self, then: Callable[[str], None]) -> Callable[[], None]:
        """Nobody has to wait: there is always proof."""
        del then
        return _nothing

    def rejected(self) -> None:
        """The next signature is another one in any case."""

    def authorization(
        self, method: str, path: str, query: str, headers: Iterable[tuple[str, str]], body_digest: str, moment: str
    ) -> str:
        """Returns the value of the header. `headers` are sorted, in lower case; `moment` is as 20150830T123600Z."""
        sorted_headers = tuple(headers)
        names = ";".join(name for name, _ in sorted_headers)
        said = "".join(f"{name}:{value}\n" for name, value in sorted_headers)
        canonical = f"{method}\n{_quoted(path)}\n{query}\n{said}\n{names}\n{body_digest}"
        day = moment[:8]
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key_of(day), text.encode(), "sha256").hex()
        return f"{_ALGORITHM} Credential={self._keys.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"

    def _key_of(self, day: str) -> bytes:
        """Returns the key of a day, which is made once."""
        if day != self._day:
            key = f"AWS4{self._keys.secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._day, self._key = day, key
        return self._key


@lru_cache(maxsize=1024)
def _quoted(path: str) -> str:
    """Returns a path encoded once more; a configuration has few, and the work is half of a signature's."""
    return quote(path, safe="/-_.~")


def _nothing() -> None:
    """There is nothing to give up."""
