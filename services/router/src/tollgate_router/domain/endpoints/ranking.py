"""Rerank between the shapes of Cohere and of Jina, at providers whose data says which of the two is theirs.

`/v2/rerank` is Cohere's. `/v1/rerank` is Jina's and that of Cohere's first version, whose clients cannot be told apart:
a reply there holds what either reads. What was used is read from the provider's own reply, before it is rewritten.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Final

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.endpoints.reading import Read, read_ranking
from tollgate_router.domain.openai_chat import Members, plain_body
from tollgate_router.domain.sending import Sending, shown_names
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import UpstreamProblem, unreadable
from tollgate_router.domain.usage import ReplyUsage
from tollgate_router.errors import Refused

_SECOND: Final = 2
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_ENCODER: Final = msgspec.json.Encoder()
_NULL: Final = b"null"
_FALSE: Final = msgspec.Raw(b"false")
_SHARED: Final = ("query", "documents", "top_n")
# Of Cohere's second version, and what its first one had beside them.
_COHERES: Final = ("max_tokens_per_doc", "priority")
_COHERES_FIRST: Final = ("max_chunks_per_doc", "rank_fields")
_READ_HERE: Final = frozenset(("model", "return_documents", "rank_fields", *_SHARED))

Document = str | dict[str, Any]
_DOCUMENTS: Final = msgspec.json.Decoder(list[Document])
_QUERY: Final = msgspec.json.Decoder(Document)
_FIELDS: Final = msgspec.json.Decoder(list[str] | None)
_FLAG: Final = msgspec.json.Decoder(bool | None)
_REPLY: Final = msgspec.json.Decoder(dict[str, Any])


class _Shown(msgspec.Struct, frozen=True):
    """How a reply is to look. `documents` are put beside the results; None: those of the reply stay, if any."""

    second: bool
    reply_id: str
    model: str
    documents: Sequence[Document] | None = None


def sending(opened: wire.Open, members: Members, target: Target) -> Sending:
    """Returns what to send to a provider of either shape. Raises Refused for what cannot be said in its shape."""
    second = opened.api_version == _SECOND
    named = msgspec.Raw(_ENCODER.encode(target.upstream_model))
    shown = _Shown(second, opened.request_id, opened.requested_model or opened.model)
    if target.rerank == "cohere":
        if second:
            # Its own: the provider judges it, and says so in its own words.
            return Sending(b"/rerank", plain_body({**members, "model": named}), None, read_ranking)
        documents = _read(_DOCUMENTS, members, "documents", "a list of texts, or of objects with a text")
        if _wants_documents(members):
            shown = msgspec.structs.replace(shown, documents=documents)
        body, dropped = _to_cohere(members, documents)
    else:
        body, dropped = _to_jina(members, second=second)
    read = partial(_retold, shown=shown)
    return Sending(b"/rerank", plain_body({**body, "model": named}), None, read, (), shown_names(dropped))


def _read(decoder: "msgspec.json.Decoder[Any]", members: Members, name: str, words: str) -> Any:
    try:
        return decoder.decode(members.get(name, _NULL))
    except _BROKEN as error:
        raise Refused(f"{name} must be {words}.", name) from error


def _wants_documents(members: Members) -> bool:
    """Tells whether documents are to come back: Jina's callers get them unless they say no, Cohere's if they ask."""
    wanted = _read(_FLAG, members, "return_documents", "true or false")
    return wanted if wanted is not None else not any(name in members for name in (*_COHERES, *_COHERES_FIRST))


def _check_fields(members: Members) -> None:
    """Raises Refused where something else than the text of documents is to be looked at."""
    fields = _read(_FIELDS, members, "rank_fields", "a list of names")
    if fields is not None and fields != ["text"]:
        raise Refused("rank_fields: the provider of this model looks at the text of documents only.", "rank_fields")


def _to_cohere(members: Members, documents: Sequence[Document]) -> tuple[Members, tuple[str, ...]]:
    _check_fields(members)
    if _read(_FLAG, members, "return_embeddings", "true or false"):
        raise Refused("return_embeddings: the provider of this model returns scores only.", "return_embeddings")
    query = _read(_QUERY, members, "query", "a text")
    body: Members = {name: members[name] for name in ("top_n", *_COHERES) if name in members}
    body["query"] = msgspec.Raw(_ENCODER.encode(_text_of(query, "query")))
    body["documents"] = msgspec.Raw(_ENCODER.encode([_text_of(one, "documents") for one in documents]))
    return body, _left_out(members, {*_READ_HERE, *_COHERES, "return_embeddings"})


def _text_of(one: Document, name: str) -> str:
    text = one if isinstance(one, str) else one.get("text")
    if not isinstance(text, str):
        raise Refused(f"{name}: the provider of this model takes texts only.", name)
    return text


def _to_jina(members: Members, *, second: bool) -> tuple[Members, tuple[str, ...]]:
    _check_fields(members)
    documents = _read(_DOCUMENTS, members, "documents", "a list of texts, or of objects with a text or a picture")
    if second:
        body: Members = {name: members[name] for name in _SHARED if name in members}
        dropped = _left_out(members, _READ_HERE)
    else:
        # What Jina has beside them is the provider's to judge.
        body = {name: raw for name, raw in members.items() if name not in {*_COHERES, *_COHERES_FIRST}}
        dropped = tuple(name for name in (*_COHERES, "max_chunks_per_doc") if bytes(members.get(name, _NULL)) != _NULL)
    if second or not _wants_documents(members):
        body["return_documents"] = _FALSE
    if any(isinstance(one, dict) and len(one) > 1 for one in documents):
        # Cohere's callers have whole records, of which the text is looked at.
        body["documents"] = msgspec.Raw(_ENCODER.encode([_plain(one) for one in documents]))
    return body, dropped


def _plain(one: Document) -> Document:
    return {"text": one["text"]} if isinstance(one, dict) and isinstance(one.get("text"), str) else one


def _left_out(members: Members, known: "set[str] | frozenset[str]") -> tuple[str, ...]:
    return tuple(name for name, raw in members.items() if name not in known and bytes(raw) != _NULL)


# What comes back.


def _retold(body: bytes, shown: _Shown) -> Read:
    found = read_ranking(body)
    if isinstance(found, UpstreamProblem):
        return found
    usage = found[0]
    try:
        reply = _REPLY.decode(body)
        results = [_result(msgspec.convert(one, _Result), one, shown) for one in reply["results"]]
    except (*_BROKEN, LookupError):
        return unreadable()
    tokens = _tokens(usage)
    told: dict[str, Any] = {} if shown.second else {**reply, "model": shown.model, "object": "list"}
    told["id"] = reply.get("id", shown.reply_id)
    told["results"] = results
    told["meta"] = reply.get("meta", {"api_version": {"version": "2" if shown.second else "1"}} | _billed(tokens))
    if not shown.second:
        # Who bills searches counts no tokens.
        told["usage"] = reply.get("usage", {"total_tokens": tokens})
    return usage, _ENCODER.encode(told)


class _Result(msgspec.Struct):
    index: Annotated[int, msgspec.Meta(ge=0)]
    relevance_score: float


def _result(found: _Result, whole: dict[str, Any], shown: _Shown) -> dict[str, Any]:
    """Raises LookupError for the place of a document that was not sent."""
    if shown.second:
        return {"index": found.index, "relevance_score": found.relevance_score}
    if shown.documents is not None:
        document = shown.documents[found.index]
        return {**whole, "document": {"text": document} if isinstance(document, str) else document}
    return whole


def _tokens(usage: ReplyUsage | None) -> int:
    """Returns the tokens that a provider counted; 0 where it counts none."""
    counted = () if usage is None else (usage, *usage.others)
    return next((one.units["input"] for one in counted if "input" in one.units and not one.estimated), 0)


def _billed(tokens: int) -> dict[str, Any]:
    return {"billed_units": {"input_tokens": tokens}, "tokens": {"input_tokens": tokens}} if tokens else {}
