"""The operations of the inference path beside their bodies: paths, what keys call them, and which models serve them."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.domain import access
from tollgate_edge.faces import ANTHROPIC, OPENAI, RERANK, RESPONSES, SECOND_RERANK, Face


class Operation(NamedTuple):
    """`endpoint` is the word of a key's list, `kinds` are the kinds of model that serve it; `form`: its body is one.

    `once`: it is not asked of a second router, since a provider may be at work on it and be paid twice.
    """

    endpoint: str
    kinds: frozenset[str]
    form: bool = False
    once: bool = False


_TRANSCRIPTION: Final = frozenset({"transcription"})
OPERATIONS: Final[Mapping[int, Operation]] = {
    wire.OPERATION_CHAT: Operation(access.CHAT, frozenset({"chat"})),
    wire.OPERATION_EMBEDDINGS: Operation(access.EMBEDDINGS, frozenset({"embedding"})),
    # Servers of open models complete with any of them; where a provider does not, the router says so.
    wire.OPERATION_COMPLETION: Operation(access.COMPLETIONS, frozenset({"completion", "chat"})),
    wire.OPERATION_MODERATION: Operation(access.MODERATIONS, frozenset({"moderation"})),
    wire.OPERATION_RERANK: Operation(access.RERANK, frozenset({"rerank"})),
    wire.OPERATION_SPEECH: Operation(access.AUDIO, frozenset({"speech"}), once=True),
    wire.OPERATION_TRANSCRIPTION: Operation(access.AUDIO, _TRANSCRIPTION, form=True, once=True),
    wire.OPERATION_TRANSLATION: Operation(access.AUDIO, _TRANSCRIPTION, form=True, once=True),
}
FORMS: Final = frozenset(number for number, operation in OPERATIONS.items() if operation.form)
# Where a model of this kind is asked, for those who asked elsewhere.
_ASKED_AT: Final = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "embedding": "/v1/embeddings",
    "image": "/v1/images/generations",
    "moderation": "/v1/moderations",
    "rerank": "/v1/rerank",
    "speech": "/v1/audio/speech",
    "transcription": "/v1/audio/transcriptions",
}
_NOUNS: Final[Mapping[int, str]] = {
    wire.OPERATION_CHAT: "chat",
    wire.OPERATION_EMBEDDINGS: "embedding",
    wire.OPERATION_COMPLETION: "completion",
    wire.OPERATION_MODERATION: "moderation",
    wire.OPERATION_RERANK: "rerank",
    wire.OPERATION_SPEECH: "speech",
    wire.OPERATION_TRANSCRIPTION: "transcription",
    wire.OPERATION_TRANSLATION: "transcription",
}
_PATHS: Final[Mapping[bytes, tuple[int, Face]]] = {
    b"/chat/completions": (wire.OPERATION_CHAT, OPENAI),
    b"/embeddings": (wire.OPERATION_EMBEDDINGS, OPENAI),
    b"/responses": (wire.OPERATION_CHAT, RESPONSES),
    b"/messages": (wire.OPERATION_CHAT, ANTHROPIC),
    b"/completions": (wire.OPERATION_COMPLETION, OPENAI),
    b"/moderations": (wire.OPERATION_MODERATION, OPENAI),
    b"/rerank": (wire.OPERATION_RERANK, RERANK),
    b"/audio/speech": (wire.OPERATION_SPEECH, OPENAI),
    b"/audio/transcriptions": (wire.OPERATION_TRANSCRIPTION, OPENAI),
    b"/audio/translations": (wire.OPERATION_TRANSLATION, OPENAI),
}
# Each with and without /v1. Cohere's clients ask for the second version of its API.
ROUTES: Final[Mapping[bytes, tuple[int, Face]]] = {
    **{b"/v1" + path: route for path, route in _PATHS.items()},
    **_PATHS,
    b"/v2/rerank": (wire.OPERATION_RERANK, SECOND_RERANK),
}


def misplaced(model: str, kind: str, operation: int) -> str | None:
    """Returns what to say of a model that is of another kind than the operation needs; None where it may be asked.

    An operator's own models are of no kind that is known.
    """
    if not kind or kind in OPERATIONS[operation].kinds:
        return None
    asked_at = f" Ask it at {_ASKED_AT[kind]}." if kind in _ASKED_AT else ""
    return f"The model '{model}' is for {kind}, not for {_NOUNS[operation]}.{asked_at}"
