"""Signatures that Gemini puts on its calls, on their way through dialects that have no place for them.

Gemini 3 refuses a call that comes back without one. Chat carries it as Google's own compatible endpoint does, in
`extra_content` of a call. Messages and Responses have signed thoughts, which their clients bring back unchanged: there
it is the signature of the thought before the call, marked, so that no other maker is shown it.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import structs

from tollgate_router.domain.dialects.neutral import Call, Message, Part, Text, Thinking

_MARK: Final = "google:"
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_EXTRA: Final = b'"extra_content"'


def marked(signature: str) -> str:
    """Returns the signature of a call as that of a thought."""
    return _MARK + signature


def as_thoughts(parts: Iterable[Text | Thinking | Call]) -> Iterable[Text | Thinking | Call]:
    """Yields an answer whose signed calls have a signed thought before them."""
    for part in parts:
        if isinstance(part, Call) and part.signature:
            yield Thinking("", marked(part.signature))
        yield part


def back_on_calls(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Returns the conversation with the signatures of calls on the calls, and not on thoughts."""
    signed = any(
        isinstance(part, Thinking) and part.signature.startswith(_MARK)
        for message in messages
        for part in message.parts
    )
    if not signed:
        return messages
    return tuple(Message(message.role, tuple(_back(message.parts))) for message in messages)


def _back(parts: Iterable[Part]) -> Iterable[Part]:
    signature = ""
    for part in parts:
        if isinstance(part, Thinking) and part.signature.startswith(_MARK):
            signature = part.signature.removeprefix(_MARK)
            if part.text:
                yield Thinking(part.text)
        elif isinstance(part, Call):
            yield structs.replace(part, signature=signature or part.signature)
            signature = ""
        else:
            yield part


class _Google(msgspec.Struct, frozen=True):
    thought_signature: str = ""


class _Extra(msgspec.Struct):
    google: _Google = _Google()


_EXTRAS: Final = msgspec.json.Decoder(_Extra)


def signature_in(extra: msgspec.Raw) -> str:
    """Returns the signature in a call's `extra_content`; nothing where that is another one's."""
    try:
        return _EXTRAS.decode(extra).google.thought_signature
    except _BROKEN:
        return ""


def extra_of(signature: str) -> dict[str, Any]:
    """Returns the members that a call has in chat beside its own."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def without_extra(members: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Returns the members of a chat whose calls have no `extra_content`: who did not give it may refuse it.

    Chats without tools, in which nobody calls, are not looked through: that costs a sixth of a microsecond a kilobyte.
    """
    raw = members.get("messages") if "tools" in members else None
    if raw is None or _EXTRA not in bytes(raw):
        return members
    try:
        messages = msgspec.json.decode(raw)
    except _BROKEN:
        return members
    for message in messages if isinstance(messages, list) else ():
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                call.pop("extra_content", None)
    return {**members, "messages": msgspec.Raw(msgspec.json.encode(messages))}
