"""The console API's dead letters: usage events that could not be booked. Operators only."""

import base64
import json
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.billing.v1 import dead_letters_pb2 as letters
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import PageLimit, ShortText
from tollgate_edge.api.rendering import invalid, plain, render_time

_MOST_IDS: Final = 100
_LONGEST_ID: Final = 64


def dead_letters_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1/dead-letters."""
    router = APIRouter(prefix="/api/v1/dead-letters")

    @router.get("", summary="Usage events that could not be booked, newest first")
    async def dead_letters(request: Request, limit: PageLimit = 20, cursor: ShortText = "") -> Response:
        await context.operator(request)
        asked = letters.ListDeadLettersRequest(limit=min(limit, _MOST_IDS), cursor=cursor)
        found = await context.dead_letters.dead_letters(asked)
        return json_response({"items": [_letter(one) for one in found.letters], "next": found.next_cursor or None})

    @router.get("/{letter_id}", summary="One of them, with its original bytes")
    async def dead_letter(request: Request, letter_id: str) -> Response:
        await context.operator(request)
        found = await context.dead_letters.dead_letter(letters.GetDeadLetterRequest(id=letter_id))
        more = {
            "key_base64": base64.b64encode(found.key).decode(),
            "value_base64": base64.b64encode(found.value).decode(),
            "event": json.loads(found.event_json) if found.event_json else None,
        }
        return json_response(_letter(found.letter) | more)

    @router.post("/replay", summary="Sends those that can be booked now to where they came from; books each once")
    async def replay(request: Request) -> Response:
        await context.operator(request)
        asked = _asked(await context.bodies.read_object(request))
        found = await context.dead_letters.replay(asked)
        items = [_letter(one) for one in found.letters]
        return json_response({"sent": found.sent, "unusable": found.unusable, "items": items})

    return router


def _asked(body: dict[str, Any]) -> letters.ReplayDeadLettersRequest:
    """Returns what a body asks for. Raises PublicError."""
    ids, everything = body.get("ids"), body.get("all", False)
    if not isinstance(everything, bool):
        raise invalid("'all' must be true or false.", "all")
    if everything and ids is None:
        return letters.ReplayDeadLettersRequest(all=True)
    if everything or not isinstance(ids, list) or not 0 < len(ids) <= _MOST_IDS:
        raise invalid(f"Send either 'ids', a list of 1 to {_MOST_IDS}, or 'all': true.", "ids")
    if not all(isinstance(one, str) and one.isascii() and 0 < len(one) <= _LONGEST_ID for one in ids):
        raise invalid("'ids' holds something that is no id of a dead letter.", "ids")
    return letters.ReplayDeadLettersRequest(ids=ids)


def _letter(one: letters.DeadLetter) -> dict[str, Any]:
    found = plain(one)
    found.pop("logged_at_us")
    named = {name: found[name] or None for name in ("problem", "request_id", "organization_id")}
    return found | named | {"logged_at": render_time(one.logged_at_us)}
