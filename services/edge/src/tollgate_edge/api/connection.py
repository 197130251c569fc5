"""The connection test: what of a client's request arrives here, and what would come of one that asks a model.

It costs nothing and says everything at once, a key that is refused too. The stream beside it shows whether a proxy on
the way holds back what is sent in pieces. `tollgate doctor client` asks both.
"""

import json
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.key_balance import key_balance
from tollgate_edge.api.models import may_use
from tollgate_edge.api.reading import ShortText, presented_key
from tollgate_edge.domain.keys import TOKEN_PREFIX
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import ERRORS_PATH, PublicError, public_error
from tollgate_edge.ports import EdgeVersion
from tollgate_rating import NoRate, format_decimal

OK, FAILED, SKIPPED = "ok", "failed", "skipped"
PIECES: Final = 5
PAUSE_SECONDS: Final = 0.3
_SSE_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
# How keys of others begin, and whose they are.
_FOREIGN: Final = {
    "sk-ant-": "Anthropic", "sk-or-": "OpenRouter", "sk-proj-": "OpenAI", "AIza": "Google", "gsk_": "Groq",
    "xai-": "xAI",
}  # fmt: skip


def connection_router(context: HttpContext) -> APIRouter:
    """Returns `connection` and `connection/stream`, with and without /v1."""
    router = APIRouter()

    @router.get("/v1/connection", summary="Says what of a client's set-up is wrong, and how to mend it")
    @router.get("/connection", include_in_schema=False)
    async def connection(request: Request, model: ShortText = "") -> Response:
        checks = await _checks(context, request, model)
        failed = [one["check"] for one in checks if one["state"] == FAILED]
        reply = json_response(
            {
                "object": "connection_test",
                "gateway": "Tollgate",
                "version": version("tollgate-edge"),
                "ok": not failed,
                "arrived": _arrived(context, request),
                "checks": checks,
            }
        )
        reply.headers["cache-control"] = "no-store"
        return reply

    @router.get("/v1/connection/stream", summary="Sends events at even pauses, to find a proxy that holds them back")
    @router.get("/connection/stream", include_in_schema=False)
    async def stream(pieces: Annotated[int, Query(ge=2, le=20)] = PIECES) -> Response:
        return StreamingResponse(_pieces(context, pieces), media_type="text/event-stream", headers=_SSE_HEADERS)

    return router


async def _pieces(context: HttpContext, count: int) -> AsyncIterator[bytes]:
    """Yields events that say when they were sent, comments as keep-alives between them."""
    began = context.clock.now_us()
    for number in range(count):
        if number:
            await context.sleep(PAUSE_SECONDS)
            yield b": keep-alive\n\n"
        sent_ms = (context.clock.now_us() - began) // 1000
        yield b"data: %b\n\n" % json.dumps({"piece": number, "of": count, "sent_ms": sent_ms}).encode()
    yield b"data: [DONE]\n\n"


def _arrived(context: HttpContext, request: Request) -> dict[str, Any]:
    """Returns the request as it came to us: what a proxy changed on the way shows here."""
    headers = request.headers
    return {
        "base_url": f"{context.base_url(request)}/v1",
        "host": headers.get("host", ""),
        "path": request.url.path,
        "address": request.client.host if request.client is not None else "",
        "forwarded_for": headers.get("x-forwarded-for", ""),
        "forwarded_proto": headers.get("x-forwarded-proto", ""),
        "via": headers.get("via", ""),
        "origin": headers.get("origin", ""),
        "user_agent": headers.get("user-agent", ""),
    }


async def _checks(context: HttpContext, request: Request, model: str) -> list[dict[str, Any]]:
    docs = f"{context.base_url(request)}{ERRORS_PATH}"
    try:
        principal = await context.caller(request)
    except PublicError as error:
        skipped = [_finding(name, SKIPPED, "the key comes first") for name in ("model", "balance")]
        return [_refused("key", error, docs, _key_advice(request)), *skipped]
    key = _finding("key", OK, f"a key of project {principal.project_id}")
    checks = [key, _check_model(context, principal, model, docs)]
    try:
        checks.append(await _check_balance(context, principal, model, docs))
    except PublicError as error:
        checks.append(_refused("balance", error, docs))
    return checks


def _check_model(context: HttpContext, principal: Principal, model: str, docs: str) -> dict[str, Any]:
    current = context.version.current()
    if current is None:
        return _refused("model", public_error(errors.ERROR_KIND_UNAVAILABLE), docs)
    usable = [one.name for one in current.models_of(principal.route_group) if may_use(principal, one.name)]
    if not usable:
        advice = "The operator declares a channel for this key's route group, or widens the key's list of models."
        return _finding("model", FAILED, "this key may use no model", advice)
    if not model:
        return _finding("model", SKIPPED, f"none was named; {len(usable)} can be used")
    if model not in usable:
        error: PublicError | None = public_error(errors.ERROR_KIND_MODEL_NOT_FOUND)
    else:
        error = _price_problem(current, principal, model, context.clock.now_us())
    return _finding("model", OK, f"'{model}' can be used") if error is None else _refused("model", error, docs)


def _price_problem(current: EdgeVersion, principal: Principal, model: str, now_us: int) -> PublicError | None:
    try:
        price = current.price_table.find(model, principal.price_group, now_us, principal.currency)
    except NoRate:
        return public_error(errors.ERROR_KIND_UNAVAILABLE, code="no_exchange_rate")
    if price is None:
        return public_error(errors.ERROR_KIND_MODEL_NOT_FOUND, code="model_not_priced")
    return None


async def _check_balance(context: HttpContext, principal: Principal, model: str, docs: str) -> dict[str, Any]:
    blocked = context.turned(principal, model, lambda _: False)
    if isinstance(blocked, PublicError):
        return _refused("balance", blocked, docs)
    found = await key_balance(context, principal)
    if found.remaining is None:
        return _finding("balance", OK, "nothing limits what this key spends")
    left = f"{format_decimal(int(found.remaining * 10**12))} {found.currency} are left"
    if found.remaining <= 0:
        return _refused("balance", public_error(errors.ERROR_KIND_INSUFFICIENT_QUOTA, f"{left}."), docs)
    return _finding("balance", OK, left)


def _key_advice(request: Request) -> str:
    presented = (presented_key(request) or b"").decode("latin-1")
    if presented.startswith(TOKEN_PREFIX):
        return "This is an operator's access token. Clients want an API key: `tollgate keys create`."
    for prefix, owner in _FOREIGN.items():
        if presented.startswith(prefix):
            return f"This is a key of {owner}. Clients of this gateway use keys of this gateway (sk-tg-…)."
    if presented.strip("\"'` \t") != presented:
        return "The key has quotes or blanks around it. Paste it without."
    return ""


def _refused(check: str, error: PublicError, docs: str, advice: str = "") -> dict[str, Any]:
    found = _finding(check, FAILED, error.message, advice or error.entry.do.en)
    return found | {"status": error.status, "code": error.code, "link": error.link(docs)}


def _finding(check: str, state: str, found: str, advice: str = "") -> dict[str, Any]:
    return {"check": check, "state": state, "found": found, "advice": advice}
