"""Vertex AI: Gemini's and Claude's wires at paths of a project, and the server that gives access tokens. No I/O.

As strict as the vendor about the token, the version in Claude's body, and what else must not be there.
"""

import base64
import binascii
import json
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from tollgate_simulator_provider.refusals import Refused

PATH = re.compile(
    r"/vertex/v1/projects/(?P<project>[a-z0-9-]+)/locations/(?P<location>[a-z0-9-]+)/publishers/"
    r"(?:google/models/(?P<gemini>[^:/]+):(?P<verb>generateContent|streamGenerateContent|predict|embedContent)"
    r"|anthropic/models/(?P<claude>[^:/]+):(?P<raw>rawPredict|streamRawPredict))"
)
VERSION = "vertex-2023-10-16"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LIFE_SECONDS = 3599
SKEW_SECONDS = 300


class Accounts:
    """One service account, made when it is first asked for, and the tokens that were given for it."""

    def __init__(self) -> None:
        self._key: Any = None
        self._tokens: dict[str, float] = {}
        self._email = "simulated@simulated.iam.gserviceaccount.com"
        self.asked = 0

    def file(self, origin: str) -> dict[str, Any]:
        """Returns the key file of the account, as the vendor's console gives it; `origin` is where tokens are given."""
        from cryptography.hazmat.primitives import serialization

        pem = self._private().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "simulated",
            "private_key_id": "simulated-1",
            "private_key": pem.decode(),
            "client_email": self._email,
            "token_uri": f"{origin}/vertex/token",
        }

    def token(self, body: bytes, origin: str) -> tuple[int, dict[str, Any]]:
        """Returns status and value of an answer to who asks for a token."""
        self.asked += 1
        form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        if form.get("grant_type") != GRANT:
            return 400, {"error": "unsupported_grant_type", "error_description": "Invalid grant_type"}
        problem = self._wrong(form.get("assertion", ""), f"{origin}/vertex/token")
        if problem:
            return 400, {"error": "invalid_grant", "error_description": problem}
        token = f"ya29.simulated-{secrets.token_urlsafe(24)}"
        self._tokens[token] = time.time() + LIFE_SECONDS
        return 200, {"access_token": token, "expires_in": LIFE_SECONDS, "token_type": "Bearer"}

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises Refused for what carries no token that holds."""
        given = headers.get(b"authorization", b"").decode("latin-1")
        if self._tokens.get(given.removeprefix("Bearer "), 0) < time.time():
            raise Refused(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")

    def _private(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric import rsa

        if self._key is None:
            self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self._key

    def _wrong(self, assertion: str, audience: str) -> str:
        """Returns what is wrong with an assertion."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            head, claims, signature = map(_decoded, assertion.split("."))
            header, said = json.loads(head), json.loads(claims)
            signed = assertion.rpartition(".")[0].encode()
            self._private().public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return "Invalid JWT Signature."
        except (ValueError, binascii.Error):
            return "Bad Request"
        now = time.time()
        wrong = {
            "Invalid JWT: only RS256": header.get("alg") != "RS256",
            "Invalid grant: account not found": said.get("iss") != self._email,
            "Invalid scope": said.get("scope") != SCOPE,
            "Invalid audience": said.get("aud") != audience,
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.": not (
                abs(now - said.get("iat", 0)) < SKEW_SECONDS and 0 < said.get("exp", 0) - said.get("iat", 0) <= 3600
            ),
        }
        return next((words for words, so in wrong.items() if so), "")


def check_claude(request: Mapping[str, Any]) -> None:
    """Raises Refused for a body that the real wire would not take."""
    if request.get("anthropic_version") != VERSION:
        raise Refused(400, f"anthropic_version: Input should be '{VERSION}'")
    if "model" in request:
        raise Refused(400, "model: Extra inputs are not permitted")


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
