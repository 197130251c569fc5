"""Azure OpenAI: OpenAI's wire at paths of deployments, with a header of its own and the marks of its filter. No I/O.

As strict as the vendor about the key's header or the token, the version, and what a deployment's path is; and the token
endpoint of Microsoft Entra ID.
"""

import json
import re
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from tollgate_simulator_provider.refusals import Refused

PATH = re.compile(
    r"/azure/openai/(?:deployments/(?P<deployment>[^/]+)|v1)/"
    r"(?P<path>chat/completions|embeddings|images/generations|(?<=/v1/)responses)"
)
OPERATIONS = {
    "chat/completions": "chat",
    "embeddings": "embeddings",
    "images/generations": "images",
    "responses": "responses",
}
VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
SAFE = {"filtered": False, "severity": "safe"}
JUDGED = dict.fromkeys(("hate", "self_harm", "sexual", "violence"), SAFE)
# What a prompt must hold to be refused by the filter.
BLOCKED = "[[azure:blocked]]"


TOKEN = re.compile(r"/azure/(?P<tenant>[^/]+)/oauth2/v2\.0/token")
SCOPE = "https://cognitiveservices.azure.com/.default"
LIFE_SECONDS = 3599


class Application:
    """One application of Entra, made at the start, and the tokens that were given to it."""

    def __init__(self) -> None:
        self.tenant, self.client = str(uuid.uuid4()), str(uuid.uuid4())
        self._secret = f"{secrets.token_urlsafe(6)}8Q~{secrets.token_urlsafe(24)}"
        self._tokens: dict[str, float] = {}

    def known(self, origin: str) -> dict[str, str]:
        """Returns what its owner knows, and how many tokens were given; `origin` is where they are."""
        authority = f"{origin}/azure"
        found = {"tenant": self.tenant, "client": self.client, "secret": self._secret, "authority": authority}
        return {**found, "given": str(len(self._tokens))}

    def token(self, tenant: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Returns status and value of an answer to who asks for a token."""
        form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        if tenant != self.tenant:
            return _denied(400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")
        if form.get("grant_type") != "client_credentials":
            return _denied(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
        if form.get("client_id") != self.client:
            return _denied(400, "unauthorized_client", 700016, "Application was not found in the directory.")
        if form.get("client_secret") != self._secret:
            # The real one does not repeat the secret; who asks must not count on that.
            words = f"Invalid client secret provided. It was '{form.get('client_secret')}'."
            return _denied(401, "invalid_client", 7000215, words)
        if form.get("scope") != SCOPE:
            return _denied(
                400, "invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid."
            )
        token = f"eyJ0eXAi.{secrets.token_urlsafe(48)}.simulated"
        self._tokens[token] = time.time() + LIFE_SECONDS
        life = {"expires_in": LIFE_SECONDS, "ext_expires_in": LIFE_SECONDS}
        return 200, {"token_type": "Bearer", **life, "access_token": token}

    def holds(self, authorization: bytes) -> bool:
        """Tells whether a header carries a token that holds."""
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        return scheme == "Bearer" and self._tokens.get(token, 0) > time.time()


def _denied(status: int, error: str, number: int, words: str) -> tuple[int, dict[str, Any]]:
    trace = str(uuid.uuid4())
    description = f"AADSTS{number}: {words}\r\nTrace ID: {trace}\r\nCorrelation ID: {trace}"
    return status, {"error": error, "error_description": description, "error_codes": [number], "trace_id": trace}


def check(
    deployment: str, query: bytes, headers: Mapping[bytes, bytes], application: Application | None = None
) -> None:
    """Raises Refused for a request that the real wire would not take; `deployment` is empty on the v1 path."""
    if b"authorization" in headers:
        known = application is not None and application.holds(headers[b"authorization"])
        if not known or b"api-key" in headers:
            raise Refused(401, "Access token is missing, invalid, audience is incorrect, or has expired.", code="401")
    elif not headers.get(b"api-key"):
        raise Refused(401, "Access denied due to invalid subscription key or wrong API endpoint.", code="401")
    versions = parse_qs(query.decode("latin-1")).get("api-version", [])
    if deployment and not (len(versions) == 1 and VERSION.fullmatch(versions[0])):
        raise Refused(404, "Resource not found", code="404")
    if not deployment and versions not in ([], ["preview"]):
        raise Refused(400, "API version not supported", code="BadRequest")
    if unquote(deployment) == "missing":
        raise Refused(404, "The API deployment for this resource does not exist.", code="DeploymentNotFound")


def judge(prompt: str) -> None:
    """Raises Refused for a prompt that the filter does not let through."""
    if BLOCKED in prompt:
        words = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
        raise Refused(400, words, param="prompt", code="content_filter")


def frames(plain: Iterator[bytes]) -> Iterator[bytes]:
    """Yields a stream's frames with what the filter adds: before the first chunk, and behind the last with content."""
    judged = {"prompt_index": 0, "content_filter_results": JUDGED}
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    yield _frame(first | {"prompt_filter_results": [judged]})
    for frame in plain:
        if b'"finish_reason":"' in frame:
            offsets = {"check_offset": 0, "start_offset": 0, "end_offset": 9}
            choice = {"index": 0, "finish_reason": None, "content_filter_results": JUDGED}
            yield _frame(first | {"choices": [choice | {"content_filter_offsets": offsets}]})
        yield frame


def _frame(chunk: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(chunk, separators=(",", ":")).encode()
