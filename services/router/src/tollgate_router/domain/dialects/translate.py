"""What serves a caller of one dialect at a provider of this wire or that: the body to send, and how a reply is read."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import structs

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects import (
    anthropic_reply,
    completion,
    converse_reply,
    gemini_reply,
    openai_reply,
    responses_answer,
    responses_native,
    responses_reply,
)
from tollgate_router.domain.dialects.anthropic_body import write_messages
from tollgate_router.domain.dialects.anthropic_request import read_messages
from tollgate_router.domain.dialects.anthropic_stream import MessageStream
from tollgate_router.domain.dialects.azure_stream import AzureStream
from tollgate_router.domain.dialects.call_ids import told_apart
from tollgate_router.domain.dialects.choices import SeveralStreams, whole_reader
from tollgate_router.domain.dialects.citations import placed
from tollgate_router.domain.dialects.converse_body import converse_path, write_converse
from tollgate_router.domain.dialects.gemini_array import ArrayStream, as_events
from tollgate_router.domain.dialects.gemini_body import write_contents
from tollgate_router.domain.dialects.gemini_request import read_contents
from tollgate_router.domain.dialects.gemini_stream import ContentStream
from tollgate_router.domain.dialects.google_signature import as_thoughts, back_on_calls, without_extra
from tollgate_router.domain.dialects.losses import in_callers_field, in_callers_words, named_losses
from tollgate_router.domain.dialects.nested_tools import with_nested_tools
from tollgate_router.domain.dialects.neutral import Call, Message, Reply, Request, Text, choices_of, with_calls
from tollgate_router.domain.dialects.openai_proof import without_proofs
from tollgate_router.domain.dialects.openai_request import read_chat, write_chat
from tollgate_router.domain.dialects.passing import look_over
from tollgate_router.domain.dialects.repaired import RepairedReader
from tollgate_router.domain.dialects.repeated import refuse_repeated
from tollgate_router.domain.dialects.responses_body import write_responses
from tollgate_router.domain.dialects.responses_echo import echo_of
from tollgate_router.domain.dialects.responses_request import PLAIN, ToolNames, is_responses, read_responses, tool_names
from tollgate_router.domain.dialects.translated_stream import StreamTranslation
from tollgate_router.domain.endpoints import embeddings
from tollgate_router.domain.endpoints import sending as endpoints
from tollgate_router.domain.endpoints.form import Form
from tollgate_router.domain.estimated import RepairedStream, repaired
from tollgate_router.domain.openai_chat import (
    ChatStream,
    Members,
    plain_body,
    plain_parts,
    read_body,
    read_reply,
    write_body,
    write_parts,
)
from tollgate_router.domain.quirks.wire import WireQuirks
from tollgate_router.domain.sending import Filter, Sending, WholeReader, shown_names
from tollgate_router.domain.target import WIRE_BEDROCK, Target
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.domain.usage import ReplyUsage
from tollgate_router.errors import Refused

__all__ = ["Filter", "Sending", "StreamTranslation", "Translation", "WholeReader", "sending"]

# Longer bodies go to the upstream in parts that are views of what came from edge.
_COPIED_BODY_BYTES: Final = 64 * 1024
_OPENAI: Final = wire.DIALECT_OPENAI_CHAT
_ANTHROPIC: Final = wire.DIALECT_ANTHROPIC
_GEMINI: Final = wire.DIALECT_GEMINI
_RESPONSES: Final = wire.DIALECT_OPENAI_RESPONSES
_SEALED: Final = b'"reasoning.encrypted_content"'
_OPENAI_OPERATIONS: Final = {wire.OPERATION_CHAT: "chat", wire.OPERATION_EMBEDDINGS: "embeddings"}
_OPENAI_PATHS: Final = {wire.OPERATION_CHAT: b"/chat/completions", wire.OPERATION_EMBEDDINGS: b"/embeddings"}
# The version that a provider of Claude is spoken to in where the caller does not say one.
_ANTHROPIC_VERSION: Final = (b"anthropic-version", b"2023-06-01")
_ANTHROPIC_HEADERS: Final = frozenset((b"anthropic-version", b"anthropic-beta"))


def sending(
    opened: wire.Open,
    members: Members | Form,
    target: Target,
    body: bytes | bytearray,
    *,
    remembers: bool = False,
) -> Sending:
    """Returns what to send to this target; `body` is what the members were read from.

    `remembers`: what a body of the Responses API says of storing it has been done, or will be.
    Raises Refused for what is malformed or cannot be said on its wire. Of a body of the wire's own dialect, which goes
    as it is, `passing` looks at some, and the provider at the rest.
    """
    operation, dialect = opened.operation, opened.dialect
    if operation in endpoints.OPERATIONS or isinstance(members, Form):
        return _beside_chat(opened, members, target, body)
    chat = operation == wire.OPERATION_CHAT
    if not chat and embeddings.translates(opened, target):
        return embeddings.sending(opened, members, target)
    if opened.as_array:
        opened = as_events(opened)
        asked = sending(opened, members, target, body, remembers=remembers)
        return asked if asked.filter is None else structs.replace(asked, filter=ArrayStream(asked.filter))
    if not chat and target.wire != _OPENAI:
        raise Refused("The provider of this model answers chats only.", "model")
    if dialect == _RESPONSES and target.responses:
        look_over(opened, members, body, within=target.origin.private_network)
        return responses_native.sending(opened, members, target, remembers=remembers)
    # Also on chat's path, where one client sends such bodies and waits for chunks.
    responses = chat and dialect in {_OPENAI, _RESPONSES} and is_responses(members)
    if dialect == target.wire and not responses:
        look_over(opened, members, body, within=target.origin.private_network)
        return _SAME[target.wire](opened, members, target)
    return _translating(opened, members, target, body, responses=responses, remembers=remembers)


def _beside_chat(opened: wire.Open, members: Members | Form, target: Target, body: bytes | bytearray) -> Sending:
    if not isinstance(members, Form):
        if opened.operation == wire.OPERATION_COMPLETION and not target.completes:
            return _translating(opened, members, target, body, responses=False, remembers=False)
        look_over(opened, members, body, within=target.origin.private_network)
    return endpoints.sending(opened, members, target)


def _translating(
    opened: wire.Open, members: Members, target: Target, body: bytes | bytearray, *, responses: bool, remembers: bool
) -> Sending:
    try:
        refuse_repeated(body)
        if responses:
            return _response(opened, members, target, remembers=remembers)
        return _translated(opened, _read(opened, members), target)
    except Refused as refused:
        if refused.param != "messages":
            raise in_callers_field(refused, opened.dialect) from None
        # The writers do not know what the caller's dialect calls it.
        name = "input" if responses else _conversation(opened)
        named = refused.message.startswith(name)
        raise Refused(refused.message if named else f"{name}: {refused.message}", name) from None
    except RecursionError:
        raise Refused("The request body is nested too deeply.") from None


def _read(opened: wire.Open, members: Members) -> Request:
    if opened.operation == wire.OPERATION_COMPLETION:
        return completion.read_completion(members, stream=opened.stream, usage_wanted=opened.usage_wanted)
    return _READERS[opened.dialect](opened, members)


def _conversation(opened: wire.Open) -> str:
    return "prompt" if opened.operation == wire.OPERATION_COMPLETION else _CONVERSATIONS[opened.dialect]


def _response(opened: wire.Open, members: Members, target: Target, *, remembers: bool) -> Sending:
    request = read_responses(members, stream=opened.stream, usage_wanted=opened.usage_wanted, remembers=remembers)
    reply_id = responses_reply.response_id(opened.request_id)
    seals = _SEALED in bytes(members.get("include", b""))
    tools = structs.replace(tool_names(members), echo=echo_of(members), reply_id=reply_id, seals=seals)
    return _translated(opened, request, target, tools)


def _translated(opened: wire.Open, request: Request, target: Target, tools: ToolNames = PLAIN) -> Sending:
    request = structs.replace(request, messages=told_apart(back_on_calls(request.messages)))
    written = write(request, target)
    spoken = target.wire if written.wire is None else written.wire
    mending = target if written.wire is None and _mends(target) else None
    translation = Translation(opened, spoken, written.names, tools, mending)
    found: StreamTranslation | SeveralStreams | None = StreamTranslation(translation) if opened.stream else None
    read: WholeReader = translation.read
    if (count := choices_of(request)) > 1:
        found = SeveralStreams(translation, count, spoken, opened.dialect) if opened.stream else None
        read = whole_reader(translation, spoken, opened.dialect)
    kept = None if found is None else found.kept
    left_out = in_callers_words(written.dropped, opened.dialect)
    lost = (*left_out, *request.lost, *named_losses(request, target, spoken, opened.dialect))
    dropped = shown_names(tuple(dict.fromkeys(lost)))
    return Sending(written.path, written.body, found, read, written.headers, dropped, kept=kept)


class Written(msgspec.Struct, frozen=True):
    """A chat on a provider's wire; `names` are the caller's names of tools where others were sent."""

    path: bytes
    body: bytes
    dropped: tuple[str, ...]
    headers: tuple[tuple[bytes, bytes], ...] = ()
    names: Mapping[str, str] = {}
    wire: int | None = None
    """What is spoken instead of the target's wire; None where it is that one."""


def write(request: Request, target: Target) -> Written:
    """Returns what says a chat to this target. Raises Refused for what cannot be said on its wire."""
    model = target.upstream_model
    if by_responses(request, target):
        return _written_responses(request, target)
    request = structs.replace(request, messages=without_proofs(request.messages))
    if target.wire == _ANTHROPIC:
        longest = target.max_output_tokens or None
        found = write_messages(request, model, max_output_tokens=longest, body_version=target.body_version)
        path, headers = _anthropic_path(target, stream=request.stream)
        return Written(path, found.body, found.dropped, headers, found.names)
    if target.wire == WIRE_BEDROCK:
        converse = write_converse(request, model)
        return Written(converse_path(model, stream=request.stream), converse.body, converse.dropped, (), converse.names)
    if target.wire == _GEMINI:
        return Written(_gemini_path(target, stream=request.stream), *write_contents(request, model))
    quirks = target.quirks
    body, dropped = write_chat(request, model, max_tokens_name=target.max_tokens_name, quirks=quirks)
    if quirks.request is not None:
        members = read_body(body)
        dropped += quirks.request.edit(members, "messages")
        body = plain_body(members)
    return Written(quirks.path("chat", _OPENAI_PATHS[wire.OPERATION_CHAT]), body, dropped)


def by_responses(request: Request, target: Target) -> bool:
    """Tells whether a chat goes by the Responses API of its provider, which has tools and thoughts there only."""
    return target.responses and target.tools_by_responses and bool(request.tools) and request.effort != "none"


def _written_responses(request: Request, target: Target) -> Written:
    quirks = target.quirks
    body, dropped = write_responses(request, target.upstream_model)
    if quirks.responses is not None:
        members = read_body(body)
        dropped += quirks.responses.edit(members, "input")
        body = plain_body(members)
    return Written(quirks.path("responses", b"/responses"), body, dropped, wire=_RESPONSES)


def smallest_chat(target: Target) -> Written:
    """Returns the cheapest chat that shows whether a model answers."""
    return write(Request(messages=(Message("user", (Text("hi"),)),), max_output_tokens=1), target)


def _openai(opened: wire.Open, members: Members, target: Target) -> Sending:
    operation = opened.operation
    chat = operation == wire.OPERATION_CHAT
    stream = opened.stream and chat
    quirks = target.quirks
    dropped: tuple[str, ...] = ()
    if chat:
        members = with_nested_tools(members if quirks.keeps_extra else without_extra(members))
    if quirks.request is not None:
        # The same members serve the next target.
        members = dict(members)
        dropped = quirks.request.edit(members, "messages" if chat else "")
    write = write_body if opened.body_length <= _COPIED_BODY_BYTES else write_parts
    body = write(members, target.upstream_model, stream=stream and quirks.asks_usage)
    path = quirks.path(_OPENAI_OPERATIONS[operation], _OPENAI_PATHS[operation])
    if not _mends(target):
        kind = AzureStream if target.platform == "azure" else ChatStream
        found = kind(usage_wanted=opened.usage_wanted) if stream else None
        return Sending(path, body, found, _read_openai, (), dropped)
    mended = _repaired(opened, target, members if opened.usage_wanted else None) if stream else None
    return Sending(path, body, mended, partial(_read_repaired, quirks, chat=chat), (), dropped)


def _mends(target: Target) -> bool:
    """Tells whether replies are brought to the wire's rules; Azure deviates in a way that has a filter of its own."""
    return target.wire == _OPENAI and not target.conforming and target.platform != "azure"


def _repaired(opened: wire.Open, target: Target, members: Members | None) -> RepairedStream:
    given = {
        "id": openai_reply.chat_id(opened.request_id),
        "created": opened.started_at_us // 1_000_000,
        "model": target.upstream_model,
    }
    return repaired(target, given, opened, members)


def _read_repaired(quirks: WireQuirks, body: bytes, *, chat: bool) -> tuple[ReplyUsage | None, bytes] | UpstreamProblem:
    mended = quirks.whole(body, chat=chat)
    return mended if isinstance(mended, UpstreamProblem) else _read_openai(mended)


def _read_openai(body: bytes) -> tuple[ReplyUsage | None, bytes] | UpstreamProblem:
    found = read_reply(body)
    return found if isinstance(found, UpstreamProblem) else (found, body)


def _anthropic(opened: wire.Open, members: Members, target: Target) -> Sending:
    """Body and reply pass untouched but for the model's name."""
    path, headers = _anthropic_path(target, stream=opened.stream)
    said = tuple((header.name, header.value) for header in opened.headers if header.name in _ANTHROPIC_HEADERS)
    small = opened.body_length <= _COPIED_BODY_BYTES
    if target.body_version:
        version = msgspec.Raw(msgspec.json.encode(target.body_version))
        # A copy: the members serve every attempt, and the next may go elsewhere.
        named = {name: raw for name, raw in members.items() if name != "model"} | {"anthropic_version": version}
        body = plain_body(named) if small else plain_parts(named)
        headers = tuple(pair for pair in said if pair[0] != b"anthropic-version")
    else:
        body = (write_body if small else write_parts)(members, target.upstream_model, stream=False)
        headers = said if any(name == b"anthropic-version" for name, _ in said) else (*headers, *said)
    return Sending(path, body, MessageStream() if opened.stream else None, _read_anthropic, headers)


def _anthropic_path(target: Target, *, stream: bool) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """Returns the path and the headers that it needs; at a cloud the path names the model."""
    if not target.body_version:
        return b"/messages", (_ANTHROPIC_VERSION,)
    verb = "streamRawPredict" if stream else "rawPredict"
    return f"/models/{quote(target.upstream_model, safe='@')}:{verb}".encode(), ()


def _read_anthropic(body: bytes) -> tuple[ReplyUsage | None, bytes] | UpstreamProblem:
    found = anthropic_reply.read_whole(body)
    return found if isinstance(found, UpstreamProblem) else (found[1], body)


def _gemini(opened: wire.Open, members: Members, target: Target) -> Sending:
    """Body and reply pass untouched: the path names the model."""
    members.pop("model", None)
    body = plain_body(members) if opened.body_length <= _COPIED_BODY_BYTES else plain_parts(members)
    found = ContentStream() if opened.stream else None
    return Sending(_gemini_path(target, stream=opened.stream), body, found, _read_gemini)


def _read_gemini(body: bytes) -> tuple[ReplyUsage | None, bytes] | UpstreamProblem:
    found = gemini_reply.read_whole(body)
    return found if isinstance(found, UpstreamProblem) else (found[1], body)


def _gemini_path(target: Target, *, stream: bool) -> bytes:
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/models/{quote(target.upstream_model, safe='')}:{verb}".encode()


def _request_of_chat(opened: wire.Open, members: Members) -> Request:
    return read_chat(members, stream=opened.stream, usage_wanted=opened.usage_wanted)


def _request_of_responses(opened: wire.Open, members: Members) -> Request:
    return read_responses(members, stream=opened.stream, usage_wanted=opened.usage_wanted)


_Passing = Callable[[wire.Open, Members, Target], Sending]
_SAME: Final[Mapping[int, _Passing]] = {_OPENAI: _openai, _ANTHROPIC: _anthropic, _GEMINI: _gemini}
_READERS: Final[Mapping[int, Callable[[wire.Open, Members], Request]]] = {
    _OPENAI: _request_of_chat,
    _ANTHROPIC: lambda opened, members: read_messages(members, stream=opened.stream),
    _GEMINI: lambda opened, members: read_contents(members, stream=opened.stream),
    _RESPONSES: _request_of_responses,
}
_CONVERSATIONS: Final[Mapping[int, str]] = {
    _OPENAI: "messages",
    _ANTHROPIC: "messages",
    _GEMINI: "contents",
    _RESPONSES: "input",
}
_Reader = (
    openai_reply.ChatReader
    | RepairedReader
    | anthropic_reply.MessageReader
    | gemini_reply.ContentReader
    | converse_reply.ConverseReader
    | responses_answer.ResponseReader
)
_Writer = (
    openai_reply.ChatWriter
    | completion.CompletionWriter
    | anthropic_reply.MessageWriter
    | gemini_reply.ContentWriter
    | responses_reply.ResponseWriter
)


class Translation:
    """What leads from a provider's wire (a Dialect) into the caller's.

    `names` are the caller's names of tools where the wire took others; `mending` is a target whose replies are mended
    before they are read.
    """

    def __init__(
        self,
        opened: wire.Open,
        upstream: int,
        names: Mapping[str, str],
        tools: ToolNames = PLAIN,
        mending: Target | None = None,
    ) -> None:
        self._opened = opened
        self._mending = mending
        self._dialect = opened.dialect
        self._completes = opened.operation == wire.OPERATION_COMPLETION
        self._model = opened.requested_model or opened.model
        self._usage_wanted = opened.usage_wanted
        self._created = opened.started_at_us // 1_000_000
        self.signs_thoughts = opened.dialect == _ANTHROPIC or tools.seals
        # Of a reply whose wire has no ids.
        self._id = opened.request_id
        self._upstream = upstream
        self._names = names
        self._tools = tools

    @property
    def repeats(self) -> bool:
        """The last event of a stream says again all that was said, as that of the Responses API does."""
        return self._dialect == _RESPONSES

    @property
    def reads_in_bytes(self) -> bool:
        """The provider tells places in its answer by bytes."""
        return self._upstream == _GEMINI

    @property
    def writes_in_bytes(self) -> bool:
        """The caller is told places in the answer by bytes."""
        return self._dialect == _GEMINI

    def reader(self) -> _Reader:
        """Returns what reads a stream of the provider."""
        if self._upstream == _OPENAI:
            if self._mending is None:
                return openai_reply.ChatReader(self._id)
            return RepairedReader(_repaired(self._opened, self._mending, None))
        if self._upstream == WIRE_BEDROCK:
            return converse_reply.ConverseReader(self._id)
        if self._upstream == _RESPONSES:
            return responses_answer.ResponseReader()
        return anthropic_reply.MessageReader() if self._upstream == _ANTHROPIC else gemini_reply.ContentReader(self._id)

    def writer(self) -> _Writer:
        """Returns what writes a stream for the caller."""
        if self._completes:
            return completion.CompletionWriter(self._model, self._created, usage_wanted=self._usage_wanted)
        if self._dialect == _OPENAI:
            return openai_reply.ChatWriter(self._model, self._created, usage_wanted=self._usage_wanted)
        if self._dialect == _RESPONSES:
            return responses_reply.ResponseWriter(self._model, self._created, self._tools)
        if self._dialect == _ANTHROPIC:
            return anthropic_reply.MessageWriter(self._model)
        return gemini_reply.ContentWriter(self._model)

    def renamed(self, name: str) -> str:
        """Returns the caller's name of a tool."""
        return self._names.get(name, name)

    def read(self, body: bytes) -> tuple[ReplyUsage | None, bytes] | UpstreamProblem:
        """Returns a whole reply in the caller's dialect, and what it used."""
        found = self._read(body)
        if isinstance(found, UpstreamProblem):
            return found
        reply, usage = found
        parts = tuple(
            structs.replace(part, name=self.renamed(part.name)) if isinstance(part, Call) else part
            for part in reply.parts
        )
        if self.signs_thoughts:
            parts = tuple(as_thoughts(parts))
        reply = placed(reply, read_in_bytes=self.reads_in_bytes, written_in_bytes=self.writes_in_bytes)
        if any(isinstance(part, Call) for part in parts):
            reply = structs.replace(reply, finish=with_calls(reply.finish))
        reply, shown = structs.replace(reply, parts=parts), usage or ReplyUsage({}, estimated=True)
        if self._completes:
            return usage, completion.write_whole(reply, shown, self._model, self._created)
        if self._dialect == _OPENAI:
            return usage, openai_reply.write_whole(reply, shown, self._model, self._created)
        if self._dialect == _RESPONSES:
            whole = responses_reply.write_whole(reply, shown, self._model, self._created, self._tools)
            return usage, whole
        write = anthropic_reply.write_whole if self._dialect == _ANTHROPIC else gemini_reply.write_whole
        return usage, write(reply, shown, self._model)

    def _read(self, body: bytes) -> tuple[Reply, ReplyUsage | None] | UpstreamProblem:
        if self._upstream == _ANTHROPIC:
            return anthropic_reply.read_whole(body)
        if self._upstream == _GEMINI:
            return gemini_reply.read_whole(body, self._id)
        if self._upstream in {WIRE_BEDROCK, _RESPONSES}:
            converse = self._upstream == WIRE_BEDROCK
            return converse_reply.read_whole(body, self._id) if converse else responses_answer.read_whole(body)
        if self._mending is not None:
            mended = self._mending.quirks.whole(body, chat=True)
            if isinstance(mended, UpstreamProblem):
                return mended
            body = mended
        usage = read_reply(body)
        if isinstance(usage, UpstreamProblem):
            return usage
        reply = openai_reply.read_whole(body, self._id)
        return reply if isinstance(reply, UpstreamProblem) else (reply, usage)
