"""What proves to OpenAI what its model thought, on its way through dialects that have signatures of their own kind.

A `reasoning` item comes with its thought sealed, and has to come back before the calls that it led to, or the model
begins to think anew. In Messages it is the signature of a thought, in Gemini's dialect that of the call behind it; both
are marked, so that no other maker is shown it, and base64, since Gemini's clients read nothing else.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Final

from msgspec import structs

from tollgate_router.domain.dialects.neutral import Call, Message, Part, Thinking

# A multiple of three bytes, so that base64 of it stands apart.
_BEGINNING: Final = b"openai_v1"
_SIGNED: Final = frozenset((Thinking, Call))
_MARK: Final = base64.b64encode(_BEGINNING).decode()


def proof(item_id: str, sealed: str) -> str:
    """Returns a signature that carries a `reasoning` item: its id and its thought, which OpenAI sealed."""
    return base64.b64encode(b"%b%b %b" % (_BEGINNING, item_id.encode(), sealed.encode())).decode()


def is_proof(signature: str) -> bool:
    """Tells whether a signature is one of these."""
    return signature.startswith(_MARK)


def proven(signature: str) -> tuple[str, str] | None:
    """Returns id and sealed thought; None for a signature of another kind, or one that was broken on its way."""
    if not is_proof(signature):
        return None
    try:
        item_id, _, sealed = base64.b64decode(signature, validate=True)[len(_BEGINNING) :].decode().partition(" ")
    except (binascii.Error, ValueError):
        return None
    return item_id, sealed


def before_calls(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Returns a conversation for OpenAI: what stands on calls stands before them."""
    return tuple(Message(message.role, tuple(_before(message.parts))) for message in messages)


def without_proofs(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Returns a conversation for anybody else, who is shown the words of a thought only."""
    # Not by a union of both: to make one anew for each part of a long conversation takes longer than to look at it.
    signed = any(
        type(part) in _SIGNED and is_proof(part.signature)  # type: ignore[union-attr]  # Each of `_SIGNED` has one.
        for message in messages
        for part in message.parts
    )
    if not signed:
        return messages
    return tuple(Message(message.role, tuple(_without(message.parts))) for message in messages)


def _before(parts: Iterable[Part]) -> Iterable[Part]:
    for part in parts:
        if isinstance(part, Call) and is_proof(part.signature):
            yield Thinking("", part.signature)
        yield part


def _without(parts: Iterable[Part]) -> Iterable[Part]:
    for part in parts:
        if isinstance(part, Call) and is_proof(part.signature):
            yield structs.replace(part, signature="")
        elif not (isinstance(part, Thinking) and is_proof(part.signature)):
            yield part
        elif part.text:
            yield Thinking(part.text)
