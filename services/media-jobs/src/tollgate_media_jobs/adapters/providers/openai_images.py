"""The OpenAI images wire: one POST that answers when the pictures are drawn, so that a lost answer stays lost.

What an error means for a job is told by what is certain: a connection that never opened and a status that refuses were
not acted on; silence, a broken answer and a 5xx without a word of the provider may have been.
"""

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import httpx

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_media_jobs.adapters.credentials import CredentialMissing, Credentials
from tollgate_media_jobs.adapters.egress import EgressClients
from tollgate_media_jobs.domain.channels import Target
from tollgate_media_jobs.domain.job import ImageRequest, Reported
from tollgate_media_jobs.errors import AnswerLost, Failure, Refused
from tollgate_media_jobs.ports import Answer, Drawn

_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_POLICY_CODES: Final = frozenset({"moderation_blocked", "content_policy_violation", "content_filter", "contentfilter"})
_SIZE: Final = re.compile(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}")
_QUALITY: Final = re.compile(r"[a-z0-9_.-]{1,32}")
_CODE: Final = re.compile(r"[a-z0-9_.-]{1,64}")
# What names the gateway's own account, or a host, is not for callers.
_PRIVATE: Final = re.compile(r"https?://\S+|\b(sk|org|proj|acct)[-_][A-Za-z0-9_*-]{4,}")
_MAX_TOKENS: Final = 10**9
_SHOWN_CHARACTERS: Final = 300


class OpenAIImages:
    def __init__(
        self, clients: EgressClients, credentials: Credentials, *, max_answer_bytes: int, total_seconds: float
    ) -> None:
        self._clients = clients
        self._credentials = credentials
        self._max_answer_bytes = max_answer_bytes
        self._total_seconds = total_seconds

    async def generate(self, target: Target, image: ImageRequest) -> Answer:
        request = self._request(target, image)
        client = self._clients.client(private_network=target.channel.private_network)
        try:
            async with asyncio.timeout(self._total_seconds):
                reply = await client.send(request, stream=True)
                try:
                    body = await self._body(reply)
                finally:
                    await reply.aclose()
        except _NOT_SENT as error:
            detail = f"{type(error).__name__}: {error}"
            raise Refused(_unavailable(), elsewhere=True, again_seconds=1, detail=detail) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise AnswerLost(f"no answer in time ({type(error).__name__})", timed_out=True) from error
        except httpx.HTTPError as error:
            raise AnswerLost(f"{type(error).__name__}: {error}") from error
        if not reply.is_success:
            raise refusal_of(reply.status_code, body, reply.headers)
        return answer_of(reply.status_code, body)

    def _request(self, target: Target, image: ImageRequest) -> httpx.Request:
        channel = target.channel
        headers = {}
        try:
            secret = self._credentials.choose(channel)
            if secret is not None:
                headers[channel.auth_header] = channel.auth_prefix + secret.get_secret_value()
            client = self._clients.client(private_network=channel.private_network)
            url = f"{channel.base_url}/images/generations{channel.query}"
            return client.build_request("POST", url, headers=headers, json=body_of(target, image))
        except CredentialMissing as error:
            failure = Failure(
                errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, "The channel for this model has no usable credential."
            )
            raise Refused(failure, elsewhere=True, detail=str(error)) from error
        except httpx.InvalidURL as error:
            raise Refused(_unavailable(), elsewhere=True, detail=f"base_url: {error}") from error

    async def _body(self, reply: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in reply.aiter_bytes():
            body += chunk
            if len(body) > self._max_answer_bytes:
                raise Refused(
                    Failure(
                        errors.ERROR_KIND_UPSTREAM_PROTOCOL, "The provider's answer is too large; nothing is charged."
                    ),
                    detail=f"more than {self._max_answer_bytes} bytes",
                    status=reply.status_code,
                )
        return bytes(body)


def body_of(target: Target, image: ImageRequest) -> dict[str, Any]:
    """Returns the request's body: what the caller left open is left open."""
    body: dict[str, Any] = {"model": target.upstream_model, "prompt": image.prompt, "n": image.count}
    for name in ("size", "quality", "output_format", "user"):
        if value := getattr(image, name):
            body[name] = value
    return body


def answer_of(status: int, body: bytes) -> Answer:
    """Returns what an answer of success holds. Raises Refused: it was acted on, and is of no use."""
    try:
        document = json.loads(body)
        drawn = [_drawn(entry) for entry in document["data"]]
        if not drawn:
            raise ValueError("no pictures")  # noqa: TRY301 - one place judges what an answer lacks.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        failure = Failure(
            errors.ERROR_KIND_UPSTREAM_PROTOCOL, "The provider's answer holds no pictures; nothing is charged."
        )
        raise Refused(failure, detail=f"{type(error).__name__}: {str(error)[:200]}", status=status) from error
    return Answer(status, drawn, reported_of(document))


def _drawn(entry: Mapping[str, Any]) -> Drawn:
    encoded = entry.get("b64_json")
    if isinstance(encoded, str) and encoded:
        try:
            return Drawn(data=base64.b64decode(encoded, validate=True))
        except binascii.Error:
            raise ValueError("b64_json is not base64") from None
    url = entry["url"]
    if not isinstance(url, str) or not url:
        raise ValueError("a picture has neither bytes nor an address")
    return Drawn(url=url)


def reported_of(document: Mapping[str, Any]) -> Reported:
    """Returns what the provider says it used, in exclusive buckets; what it says in another shape is left out."""
    size, quality = document.get("size"), document.get("quality")
    return Reported(
        tokens=_tokens(document.get("usage")),
        size=size if isinstance(size, str) and _SIZE.fullmatch(size) else "",
        quality=quality if isinstance(quality, str) and _QUALITY.fullmatch(quality) else "",
    )


def _tokens(usage: object) -> dict[str, int]:
    inputs, outputs = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    pictures_in = min(_detail(usage, "input_tokens_details", "image_tokens"), inputs)
    cached = min(_detail(usage, "input_tokens_details", "cached_tokens"), inputs - pictures_in)
    text_out = min(_detail(usage, "output_tokens_details", "text_tokens"), outputs)
    found = {
        "input": inputs - pictures_in - cached,
        "cache_read": cached,
        "image_input": pictures_in,
        "output": text_out,
        "image_output": outputs - text_out,
    }
    return {unit: count for unit, count in found.items() if count}


def _detail(usage: object, details: str, name: str) -> int:
    return _count(usage.get(details), name) if isinstance(usage, dict) else 0


def _count(holder: object, name: str) -> int:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if type(value) is int and 0 < value <= _MAX_TOKENS else 0


def refusal_of(status: int, body: bytes, headers: Mapping[str, str]) -> Refused | AnswerLost:
    """Returns what an answer that is no success means."""
    error = _error_of(body)
    code, message = _text(error, "code"), _text(error, "message")
    code = code.lower() if _CODE.fullmatch(code.lower()) else ""
    detail = f"{status} {code} {message}".strip()
    if status == 408 or (status >= 500 and error is None):
        return AnswerLost(detail, status=status)
    if code in _POLICY_CODES:
        message = message or "The provider refuses this prompt by its content policy."
        return Refused(Failure(errors.ERROR_KIND_CONTENT_POLICY, message, "prompt", code), detail=detail, status=status)
    if status == 429 and code != "insufficient_quota":
        failure = Failure(errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, "The provider's limit is reached; try again later.")
        return Refused(failure, elsewhere=True, again_seconds=_seconds(headers), detail=detail, status=status)
    if status in {503, 529}:
        return Refused(_unavailable(), elsewhere=True, again_seconds=_seconds(headers), detail=detail, status=status)
    if status >= 500:
        # It says that it failed, which is no promise that trying again is free.
        return Refused(_unavailable(), detail=detail, status=status)
    return _client_refusal(status, error, code, message, detail)


def _client_refusal(status: int, error: Mapping[str, Any] | None, code: str, message: str, detail: str) -> Refused:
    if status in {401, 403}:
        failure = Failure(
            errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, "The provider refused the gateway's own credential."
        )
        return Refused(failure, elsewhere=True, detail=detail, status=status)
    if status in {402, 404, 405, 429} or status < 400:
        return Refused(_unavailable(), elsewhere=True, detail=detail, status=status)
    if status == 413:
        failure = Failure(errors.ERROR_KIND_PAYLOAD_TOO_LARGE, "The provider finds the request too large.")
        return Refused(failure, detail=detail, status=status)
    message = message or "The provider finds the request invalid."
    failure = Failure(errors.ERROR_KIND_INVALID_REQUEST, message, _text(error, "param")[:64], code)
    return Refused(failure, detail=detail, status=status)


def _error_of(body: bytes) -> Mapping[str, Any] | None:
    """Returns the provider's own error; None when the answer is not one of a provider that speaks this wire."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else None


def _text(error: Mapping[str, Any] | None, name: str) -> str:
    value = error.get(name) if error is not None else None
    if not isinstance(value, str):
        return ""
    shown = _PRIVATE.sub("…", value[: _SHOWN_CHARACTERS * 4])
    return "".join(character for character in shown if character.isprintable())[:_SHOWN_CHARACTERS]


def _seconds(headers: Mapping[str, str]) -> float:
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 7 else 1.0


def _unavailable() -> Failure:
    return Failure(errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, "The provider is not available; nothing is charged.")
