"""Checks signatures of version 4 as Amazon's services do: from the request as it came, and the secret. No I/O."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from tollgate_simulator_provider.refusals import Refused

SKEW_SECONDS = 300
HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, "
    r"SignedHeaders=(?P<names>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)


def check(
    raw_path: bytes, query: bytes, headers: Mapping[bytes, bytes], body: bytes, keys: Mapping[str, str], now: datetime
) -> None:
    """Raises Refused for a signature that is missing, of another key, late, or not of this request."""
    said = HEADER.fullmatch(headers.get(b"authorization", b"").decode("latin-1"))
    if said is None:
        raise Refused(403, "Missing Authentication Token", code="MissingAuthenticationTokenException")
    secret = keys.get(said["id"])
    if secret is None:
        raise Refused(403, "The security token included in the request is invalid.", code="UnrecognizedClientException")
    if said["service"] != "bedrock":
        raise Refused(
            403, "Credential should be scoped to correct service: 'bedrock'.", code="InvalidSignatureException"
        )
    moment = headers.get(b"x-amz-date", b"").decode("latin-1")
    _check_time(moment, said["day"], now)
    names = said["names"].split(";")
    wanted = {"host", "x-amz-date"} | ({"x-amz-security-token"} if b"x-amz-security-token" in headers else set())
    if not wanted <= set(names) or names != sorted(names):
        raise Refused(403, "The signed headers are not sorted, or lack one.", code="InvalidSignatureException")
    lines = [f"{name}:{' '.join(headers.get(name.encode(), b'').decode('latin-1').split())}" for name in names]
    canonical = "\n".join(
        [
            "POST",
            quote(raw_path.decode("latin-1"), safe="/-_.~"),
            "&".join(sorted(query.decode("latin-1").split("&"))),
            *lines,
            "",
            said["names"],
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{said['day']}/{said['region']}/{said['service']}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + secret.encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    if not hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), said["signature"]):
        words = "The request signature we calculated does not match the signature you provided."
        raise Refused(403, words, code="InvalidSignatureException")


def _check_time(moment: str, day: str, now: datetime) -> None:
    try:
        signed = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused(403, "Date must be in ISO-8601 'basic format'.", code="IncompleteSignatureException") from None
    if day != moment[:8]:
        raise Refused(403, "Date in Credential scope does not match X-Amz-Date.", code="InvalidSignatureException")
    late = (now - signed).total_seconds()
    if abs(late) > SKEW_SECONDS:
        words = "expired" if late > 0 else "not yet current"
        shown = f"{now:%Y%m%dT%H%M%SZ}"
        raise Refused(403, f"Signature {words}: {moment} against {shown}", code="InvalidSignatureException")
