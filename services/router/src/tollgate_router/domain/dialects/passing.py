"""Bodies that are passed on as they came: what is looked at all the same.

A provider judges its own dialect. But a server within a private network that fetches pictures would fetch what its
caller may not reach, so that addresses are held to the rules of bodies that are translated; and a field of another
kind than is documented is refused before money is held at a provider for it. Only the first byte of each field is
read, so that the price does not grow with the body: 1.1 µs for a question of 0.4 KB. The rest is left to the provider.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.data import address_of
from tollgate_router.domain.dialects.repeated import refuse_repeated
from tollgate_router.domain.openai_chat import Members
from tollgate_router.errors import Refused

MOST_TOOLS: Final = 1024
# Below it there is no room for more tools than that: `{"name":"f000"}` is the smallest.
_MANY_TOOLS_BYTES: Final = 16 * 1024
_LIST, _OBJECT, _TEXT, _NUMBER, _FLAG = b"[", b"{", b'"', b"-0123456789", b"tf"
_WORDS: Final = {
    ord("["): "a list",
    ord("{"): "an object",
    ord('"'): "text",
    ord("-"): "a number",
    ord("t"): "true or false",
}
_SAMPLING: Final = {"temperature": _NUMBER, "top_p": _NUMBER}
_COUNTED: Final = {"presence_penalty": _NUMBER, "frequency_penalty": _NUMBER, "seed": _NUMBER}
_CHAT: Final = {
    "messages": _LIST,
    **_SAMPLING,
    **_COUNTED,
    "top_logprobs": _NUMBER,
    "stop": _TEXT + _LIST,
    "tools": _LIST,
    "functions": _LIST,
    "tool_choice": _TEXT + _OBJECT,
    "function_call": _TEXT + _OBJECT,
    "response_format": _OBJECT,
    "logit_bias": _OBJECT,
    "modalities": _LIST,
    "parallel_tool_calls": _FLAG,
    "reasoning_effort": _TEXT,
    "metadata": _OBJECT,
    "user": _TEXT,
}
_RESPONSES: Final = {
    "input": _TEXT + _LIST,
    "instructions": _TEXT,
    **_SAMPLING,
    "top_logprobs": _NUMBER,
    "max_tool_calls": _NUMBER,
    "tools": _LIST,
    "tool_choice": _TEXT + _OBJECT,
    "parallel_tool_calls": _FLAG,
    "include": _LIST,
    "reasoning": _OBJECT,
    "text": _OBJECT,
    "metadata": _OBJECT,
    "truncation": _TEXT,
    "user": _TEXT,
}
_MESSAGES: Final = {
    "messages": _LIST,
    "system": _TEXT + _LIST,
    **_SAMPLING,
    "top_k": _NUMBER,
    "stop_sequences": _LIST,
    "tools": _LIST,
    "tool_choice": _OBJECT,
    "thinking": _OBJECT,
    "metadata": _OBJECT,
    "mcp_servers": _LIST,
    "output_config": _OBJECT,
}
_CONTENTS: Final = {
    # Google's own server takes one for a list of one.
    "contents": _LIST + _OBJECT + _TEXT,
    "systemInstruction": _OBJECT + _LIST + _TEXT,
    "system_instruction": _OBJECT + _LIST + _TEXT,
    "generationConfig": _OBJECT,
    "generation_config": _OBJECT,
    "tools": _LIST + _OBJECT,
    "toolConfig": _OBJECT,
    "tool_config": _OBJECT,
    "safetySettings": _LIST,
    "safety_settings": _LIST,
    "cachedContent": _TEXT,
}
_KINDS: Final[Mapping[int, Mapping[str, bytes]]] = {
    wire.DIALECT_OPENAI_CHAT: _CHAT,
    wire.DIALECT_OPENAI_RESPONSES: _RESPONSES,
    wire.DIALECT_ANTHROPIC: _MESSAGES,
    wire.DIALECT_GEMINI: _CONTENTS,
}
_OTHER_KINDS: Final[Mapping[int, Mapping[str, bytes]]] = {
    wire.OPERATION_COMPLETION: {
        "prompt": _TEXT + _LIST,
        **_SAMPLING,
        **_COUNTED,
        "stop": _TEXT + _LIST,
        "logit_bias": _OBJECT,
        "logprobs": _NUMBER + _FLAG,
        "echo": _FLAG,
        "suffix": _TEXT,
        "user": _TEXT,
    },
    wire.OPERATION_EMBEDDINGS: {
        "input": _TEXT + _LIST + _OBJECT,
        "dimensions": _NUMBER,
        "encoding_format": _TEXT,
        "user": _TEXT,
    },
    wire.OPERATION_MODERATION: {"input": _TEXT + _LIST},
    wire.OPERATION_RERANK: {
        "query": _TEXT + _OBJECT,
        "documents": _LIST,
        "top_n": _NUMBER,
        "return_documents": _FLAG,
        "max_chunks_per_doc": _NUMBER,
        "max_tokens_per_doc": _NUMBER,
        "rank_fields": _LIST,
    },
    wire.OPERATION_SPEECH: {
        "voice": _TEXT + _OBJECT,
        "instructions": _TEXT,
        "response_format": _TEXT,
        "speed": _NUMBER,
    },
}
_NULL: Final = ord("n")


class _Tool(msgspec.Struct):
    """One, or several within a space of names."""

    tools: list[msgspec.Raw] | None = None
    functionDeclarations: list[msgspec.Raw] | None = None  # noqa: N815 - the name on the wire.
    function_declarations: list[msgspec.Raw] | None = None

    def count(self) -> int:
        inner = (self.tools, self.functionDeclarations, self.function_declarations)
        return sum(len(one) for one in inner if one is not None) or 1


_TOOLS: Final = msgspec.json.Decoder(list[_Tool])
# Where a provider looks for what it fetches, in small letters.
_CONVERSATION: Final = frozenset(
    ("messages", "input", "contents", "content", "requests", "system", "systeminstruction", "system_instruction")
)
# Whose other members are a caller's own words about them.
_RANKED: Final = frozenset(("documents", "query"))
_IN_RANKED: Final = frozenset(("content", "image_url", "video_url", "audio_url"))
# Servers of tools.
_SERVERS: Final = {"tools": "server_url", "mcp_servers": "url"}
_FETCHED_FROM: Final = _CONVERSATION | _RANKED | _SERVERS.keys()
_LONG_BYTES: Final = 4096
_PIECE_BYTES: Final = 8 * 1024
# A name, and what tells that no address follows it.
_OVERLAP_BYTES: Final = 64
# Data, an object with an address of its own, or no name but a value.
_NO_ADDRESS: Final = re.compile(rb'\s*(?::\s*(?:"data:|\{)|[,}\]])')
# A letter of a name may be written as its number.
_HIDDEN: Final = re.compile(rb"\\u00[4-7]")
# Words of a model or a program, of which nobody fetches anything.
_NOT_FETCHED: Final = frozenset(
    ("args", "arguments", "response", "annotations", "citations", "action", "url_citation", "groundingMetadata")
)
_CALLS: Final = frozenset(("tool_use", "server_tool_use", "mcp_tool_use"))
# What providers in clouds resolve within an account; no server fetches these from its own network.
_STORES: Final = frozenset(("data", "gs", "s3", "oss", "ms"))
_LONGEST_PATH: Final = 4096


def look_over(opened: wire.Open, members: Members, body: bytes | bytearray, *, within: bool) -> None:
    """Raises Refused, which names the field, for what no provider is asked; `body` is what the members are of.

    `within`: the provider may be in a private network.
    """
    chat = opened.operation == wire.OPERATION_CHAT
    _check_kinds(members, _KINDS[opened.dialect] if chat else _OTHER_KINDS.get(opened.operation, {}))
    if (tools := members.get("tools")) is not None:
        _check_tools(tools)
    if opened.dialect == wire.DIALECT_GEMINI:
        _check_once(members)
    may_point = _may_point if within else _points
    if not may_point(body):
        return
    found = False
    for name, raw in members.items():
        if (kind := name.lower()) not in _FETCHED_FROM or not may_point(bytes(raw)):
            continue
        if kind in _RANKED:
            found = _walk_ranked(_decoded(raw), name) or found
        elif kind in _SERVERS:
            found = _check_servers(_decoded(raw), name, _SERVERS[kind]) or found
        else:
            found = _walk(_decoded(raw), name, name) or found
    if found and (b":/" in body or b":\\" in body or b"\\u00" in body):
        # Which of two addresses a server takes, nobody knows.
        refuse_repeated(body)


def _points(text: bytes | bytearray) -> bool:
    """Tells whether there may be an address in JSON. The name of one within text ends otherwise: quotes are escaped."""
    return _names(text, b'url"') or _names(text, b'ri"') if len(text) > _LONG_BYTES else _may_point(text)


def _may_point(text: bytes | bytearray) -> bool:
    """Tells the same of names in large letters, which some servers do not tell apart, and of escaped ones.

    1 MB: 1.1 ms instead of 0.5, so that long bodies are looked at in this way where it matters most. A long one is read
    piece by piece: no copy of a body is made for this. What a cut hides is taken for an address.
    """
    for at in range(0, len(text), _PIECE_BYTES):
        lowered = text[at : at + _PIECE_BYTES + _OVERLAP_BYTES].lower()
        if _names(lowered, b'url"') or _names(lowered, b'uri"') or _HIDDEN.search(lowered) is not None:
            return True
    return False


def _names(text: bytes | bytearray, name: bytes) -> bool:
    at = text.find(name)
    while at >= 0:
        if _NO_ADDRESS.match(text, at + len(name)) is None:
            return True
        at = text.find(name, at + 1)
    return False


def _check_kinds(members: Members, kinds: Mapping[str, bytes]) -> None:
    for name, raw in members.items():
        expected = kinds.get(name)
        if expected is None:
            continue
        first = memoryview(raw)[0]
        if first not in expected and first != _NULL:
            words = " or ".join(_WORDS[one] for one in expected if one in _WORDS)
            raise Refused(f"{name}: expected {words}.", name)


def _check_tools(raw: msgspec.Raw) -> None:
    if memoryview(raw).nbytes < _MANY_TOOLS_BYTES:
        return
    try:
        found = sum(one.count() for one in _TOOLS.decode(raw))
    except (msgspec.DecodeError, RecursionError):
        # The provider knows what is wrong with them.
        return
    if found > MOST_TOOLS:
        raise Refused(f"tools: at most {MOST_TOOLS} can be passed on, found {found}.", "tools")


def _check_once(members: Members) -> None:
    """Raises Refused where the most that is held for an answer could be read in two ways."""
    raw = members.get("generationConfig")
    other = members.get("generation_config")
    if raw is not None and other is not None:
        raise Refused("generationConfig stands beside generation_config.", "generationConfig")
    text = bytes(raw or other or b"")
    if text.count(b"utput") > 1 or text.count(b"andidate") > 1 or b"\\u" in text:
        refuse_repeated(text)


def _check_servers(found: Any, name: str, inner: str) -> bool:
    addresses = [
        (address, f"{name}[{at}].{key[:80]}")
        for at, one in enumerate(found if isinstance(found, list) else ())
        if isinstance(one, dict)
        for key, address in one.items()
        if key.lower() == inner and isinstance(address, str)
    ]
    for address, where in addresses:
        _judge(address, where, name)
    return bool(addresses)


def _walk_ranked(found: Any, name: str) -> bool:
    many = found if isinstance(found, list) else [found]
    inner = [
        {key: value for key, value in one.items() if key.lower() in _IN_RANKED} if isinstance(one, dict) else {}
        for one in many
    ]
    return _walk(inner, name, name)


def _decoded(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(f"The request body is not valid JSON: {error}.") from None


def _walk(found: Any, where: str, param: str) -> bool:
    """Tells whether a provider may find pictures or files in it. Raises Refused for an address that none may fetch."""
    if isinstance(found, list):
        # All of them are looked at, not those up to the first that has one.
        return sum(_walk(one, f"{where}[{at}]", param) for at, one in enumerate(found)) > 0
    if not isinstance(found, dict):
        return False
    there, calls = False, found.get("type") in _CALLS
    for name, value in found.items():
        if name in _NOT_FETCHED or (calls and name == "input"):
            continue
        here = f"{where}.{name[:80]}"
        if name.lower().endswith(("url", "uri")):
            there = True
            for one in value if isinstance(value, list) else (value,):
                if isinstance(one, str):
                    _judge(one, here, param)
        if isinstance(value, dict | list):
            there = _walk(value, here, param) or there
    return there


def _judge(address: str, where: str, param: str) -> None:
    """Raises Refused for an address that no outsider may send a provider to; data is not looked at."""
    scheme, colon, _ = address[:_LONGEST_PATH].partition(":")
    # Base64 without a word of its type has neither; a path to a file has a full stop.
    if (colon and scheme.lower() not in _STORES) or (not colon and "." in scheme):
        address_of(address, where, param)
