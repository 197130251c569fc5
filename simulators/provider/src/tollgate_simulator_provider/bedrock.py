"""Bedrock's Converse: from a request to the bytes of its reply, or of the messages of its event stream. No I/O.

It is as strict as the vendor's own description of the operation where a gateway could get it wrong: members that there
are, turns, answers of tools behind their calls, names, texts that are blank, formats.
"""

import base64
import binascii
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tollgate_simulator_provider import answers
from tollgate_simulator_provider.faults import Faults
from tollgate_simulator_provider.refusals import Refused
from tollgate_simulator_provider.tokens import ATTACHMENT, FRAME, json_tokens, text_tokens

PATH = re.compile(r"/bedrock/model/(?P<model>[^/]+(?:/[^/]+)?)/(?P<verb>converse|converse-stream|invoke)")
MODEL = re.compile(r"[a-zA-Z0-9-:.]{1,2048}|arn:aws[a-z-]*:bedrock:[a-z0-9-]{1,20}:[0-9]{0,12}:[a-z-]+/[a-zA-Z0-9-:.]+")
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CALL = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
MEMBERS = {
    *("messages", "system", "inferenceConfig", "toolConfig", "guardrailConfig", "additionalModelRequestFields"),
    *("additionalModelResponseFieldPaths", "requestMetadata", "performanceConfig", "serviceTier", "outputConfig"),
    *("promptVariables",),
}
CONFIG: dict[str, tuple[type, ...]] = {
    "maxTokens": (int,),
    "temperature": (int, float),
    "topP": (int, float),
    "stopSequences": (list,),
}
BLOCKS = {"text", "image", "document", "toolUse", "toolResult", "reasoningContent", "cachePoint"}
FORMATS = {
    "image": {"png", "jpeg", "gif", "webp"},
    "document": {"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"},
}
DOCUMENT = re.compile(r"[a-zA-Z0-9()\[\]-]+( [a-zA-Z0-9()\[\]-]+)*")
NAMES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def error(refused: Refused) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Returns the header that names an error, and its body."""
    name = refused.code or NAMES.get(refused.status, "InternalServerException")
    headers = [(b"x-amzn-errortype", f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/".encode())]
    return headers, json.dumps({"message": refused.message}).encode()


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Returns one message of an event stream."""
    said = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", len(said) + len(payload) + 16, len(said))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + said + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def event(kind: str, **members: Any) -> bytes:
    """Returns an event as a message; the last member pads it, as the vendor does."""
    payload = json.dumps(members | {"p": "abcdefghij"}, separators=(",", ":")).encode()
    return message({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload)


def exception(kind: str, words: str) -> bytes:
    """Returns an exception as a message."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps({"message": words}).encode())


def signature_of(thought: str) -> str:
    """Returns what proves that a thought is of this model."""
    return f"bsig-{answers.seed_of('bedrock', [{'thought': thought}]).hex()}"


@dataclass(frozen=True, slots=True)
class Reply:
    """All that is to be said to one request."""

    id: str
    choice: answers.Choice
    thoughts: tuple[str, ...]
    prompt: int
    cached: int
    faults: Faults
    include_usage: bool = True

    @property
    def units(self) -> dict[str, int]:
        """What was counted: `input` without what was read from a cache; the wire does not tell thought from output."""
        said = len(self.choice.pieces) + len(self.thoughts)
        counted = {"input": self.prompt - self.cached, "cache_read": self.cached, "output": said}
        return {name: count for name, count in counted.items() if count}

    def usage(self) -> object:
        """Returns the counts to send, which a fault may have made wrong; None: not to be sent."""
        said = len(self.choice.pieces) + len(self.thoughts)
        usage: dict[str, Any] = {
            "inputTokens": self.prompt - self.cached,
            "outputTokens": said,
            "totalTokens": self.prompt + said,
            "cacheReadInputTokens": self.cached,
            "cacheWriteInputTokens": 0,
        }
        wrong = self.faults.wrong_usage
        if wrong == "missing":
            return None
        if wrong:
            usage["outputTokens"] = {"negative": -said, "text": "many"}.get(wrong, said * 10 + 7)
        return usage

    def body(self) -> bytes:
        """Returns the reply that is no stream."""
        content: list[dict[str, Any]] = []
        if self.thoughts:
            thought = "".join(self.thoughts)
            content.append(
                {"reasoningContent": {"reasoningText": {"text": thought, "signature": signature_of(thought)}}}
            )
        if self.choice.tool:
            given = json.loads(self.choice.text)
            content.append({"toolUse": {"toolUseId": self._call, "name": self.choice.tool, "input": given}})
        else:
            content.append({"text": self.choice.text})
        reply = {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": REASONS[self.choice.finish],
            "usage": self.usage(),
            "metrics": {"latencyMs": 1},
        }
        return json.dumps({name: value for name, value in reply.items() if value is not None}).encode()

    def frames(self) -> Iterator[bytes]:
        """Yields the messages of the stream; the one with the usage is the last."""
        yield event("messageStart", role="assistant")
        if self.thoughts:
            for thought in self.thoughts:
                yield event("contentBlockDelta", contentBlockIndex=0, delta={"reasoningContent": {"text": thought}})
            proof = {"signature": signature_of("".join(self.thoughts))}
            yield event("contentBlockDelta", contentBlockIndex=0, delta={"reasoningContent": proof})
            yield event("contentBlockStop", contentBlockIndex=0)
        index = 1 if self.thoughts else 0
        if self.choice.tool:
            start = {"toolUse": {"toolUseId": self._call, "name": self.choice.tool}}
            yield event("contentBlockStart", contentBlockIndex=index, start=start)
        for piece in self.choice.pieces:
            delta = {"toolUse": {"input": piece}} if self.choice.tool else {"text": piece}
            yield event("contentBlockDelta", contentBlockIndex=index, delta=delta)
        yield event("contentBlockStop", contentBlockIndex=index)
        if not self.faults.no_done:
            yield event("messageStop", stopReason=REASONS[self.choice.finish])
            usage = self.usage()
            yield event("metadata", metrics={"latencyMs": 1}, **({} if usage is None else {"usage": usage}))

    @property
    def _call(self) -> str:
        return f"tooluse_{self.id[-12:]}"


def build(request: Mapping[str, Any], model: str, faults: Faults, reply_id: str) -> Reply:
    """Returns the reply to a request that `check` let through."""
    messages = request["messages"]
    specs = [tool["toolSpec"] for tool in (request.get("toolConfig") or {}).get("tools") or () if "toolSpec" in tool]
    tools = [{"name": spec["name"], "parameters": spec["inputSchema"]["json"]} for spec in specs]
    prompt = answers.last_of_user([_plain(one) for one in messages])
    config = request.get("inferenceConfig") or {}
    thinking = ((request.get("additionalModelRequestFields") or {}).get("thinking") or {}).get("type")
    thoughts = faults.reasoning or (8 if thinking in {"enabled", "adaptive"} else 0)
    limit = config.get("maxTokens")
    form = (request.get("outputConfig") or {}).get("textFormat")
    question = answers.Question(
        messages=messages,
        seed=answers.seed_of(model, messages),
        prompt=prompt,
        limit=-1 if limit is None else max(0, limit - thoughts),
        stop=tuple(config.get("stopSequences") or ()),
        tool=_tool(request, tools, prompt, faults),
        schema=json.loads(form["structure"]["jsonSchema"]["schema"]) if form else None,
    )
    count = _prompt_tokens(request)
    return Reply(
        id=reply_id,
        choice=answers.choice(question, 0, faults),
        thoughts=answers.thoughts(question, thoughts if limit is None else min(thoughts, limit)),
        prompt=count,
        cached=min(count, faults.cached),
        faults=faults,
    )


def check(request: Mapping[str, Any], model: str) -> None:
    """Raises Refused for a request that the real wire would not take."""
    if not MODEL.fullmatch(model):
        raise Refused(400, "The provided model identifier is invalid.")
    for name in request:
        if name not in MEMBERS:
            raise Refused(400, f"Unexpected field: {name}")
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "A conversation must start with a user message. Try again with one.")
    _check_values(request)
    calls: set[str] = set()
    for place, one in enumerate(messages):
        if one.get("role") != ("assistant" if place % 2 else "user"):
            raise Refused(400, "A conversation must alternate between user and assistant roles, and start with user.")
        calls = _check_turn(one, f"messages.{place}", calls)
    used = any(kind in block for one in messages for block in one["content"] for kind in ("toolUse", "toolResult"))
    if used and "toolConfig" not in request:
        raise Refused(400, "The toolConfig field must be defined when using toolUse and toolResult content blocks.")
    _check_tools(request)


def _check_values(request: Mapping[str, Any]) -> None:
    for name, value in (request.get("inferenceConfig") or {}).items():
        if name not in CONFIG or not isinstance(value, CONFIG[name]) or isinstance(value, bool):
            raise Refused(400, f"Invalid inferenceConfig.{name}: {value!r}")
    if not 0 <= (request.get("inferenceConfig") or {}).get("temperature", 0) <= 1:
        raise Refused(400, "Member 'temperature' must be between 0 and 1")
    for block in request.get("system") or ():
        if "text" in block and not block["text"].strip():
            raise Refused(400, "The text field in the system block is blank.")


def _check_tools(request: Mapping[str, Any]) -> None:
    config = request.get("toolConfig")
    if config is None:
        return
    specs = [tool["toolSpec"] for tool in config.get("tools") or () if "toolSpec" in tool]
    if not specs:
        raise Refused(400, "The toolConfig has no tools.")
    for spec in specs:
        schema = (spec.get("inputSchema") or {}).get("json") or {}
        if not NAME.fullmatch(str(spec.get("name"))) or schema.get("type") != "object" or spec.get("description") == "":
            raise Refused(400, f"Value at 'toolConfig.tools' failed to satisfy constraint: {spec.get('name')}")
    for kind in config.get("toolChoice") or {}:
        if kind not in {"auto", "any", "tool"}:
            raise Refused(400, f"Unknown member of the union toolChoice: {kind}")


def _check_turn(turn: Mapping[str, Any], where: str, calls: set[str]) -> set[str]:
    """Returns the calls that the next turn must answer."""
    content = turn.get("content")
    if not isinstance(content, list) or not content:
        raise Refused(400, f"The content field in the Message object at {where} is empty.")
    for block in content:
        if len(block) != 1 or not block.keys() <= BLOCKS:
            raise Refused(400, f"Unknown or several members in a union at {where}: {', '.join(block)}")
        _check_block(block, where)
    answered = [block["toolResult"]["toolUseId"] for block in content if "toolResult" in block]
    if set(answered) != calls or len(answered) != len(calls):
        raise Refused(400, f"The number of toolResult blocks at {where} does not match the toolUse blocks before.")
    if any("document" in block for block in content) and not any("text" in block for block in content):
        raise Refused(400, "A text block must be included in the message with a document.")
    return {block["toolUse"]["toolUseId"] for block in content if "toolUse" in block}


def _check_block(block: Mapping[str, Any], where: str) -> None:
    if "text" in block and not str(block["text"]).strip():
        raise Refused(400, f"The text field in the ContentBlock object at {where} is blank.")
    for kind, formats in FORMATS.items():
        if kind in block:
            found = block[kind]
            if found.get("format") not in formats or not _is_base64(found["source"].get("bytes")):
                raise Refused(400, f"Value at '{where}.content.member.{kind}' failed to satisfy constraint")
    if "document" in block and not DOCUMENT.fullmatch(str(block["document"].get("name"))):
        raise Refused(400, "The document file name can only contain alphanumeric characters, single blanks, hyphens.")
    call = block.get("toolUse")
    if call is not None and not (CALL.fullmatch(call["toolUseId"]) and NAME.fullmatch(call["name"])):
        raise Refused(400, f"Value at '{where}.content.member.toolUse' failed to satisfy constraint")
    if call is not None and not isinstance(call.get("input"), dict):
        raise Refused(
            400, f"The format of the value at {where}.content.toolUse.input is invalid. Provide a json object."
        )
    said = (block.get("reasoningContent") or {}).get("reasoningText")
    if said is not None and said.get("signature") != signature_of(said["text"]):
        raise Refused(400, f"{where}: Invalid `signature` in `thinking` block")


def _is_base64(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(base64.b64decode(text, validate=True))
    except binascii.Error:
        return False


def _plain(turn: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": turn["role"], "content": [block for block in turn["content"] if "text" in block]}


def _prompt_tokens(request: Mapping[str, Any]) -> int:
    """Counts as `tokens` says; a block that is no text and no call costs an attachment, a mark nothing."""
    total = sum(FRAME + text_tokens(block["text"]) for block in request.get("system") or () if "text" in block)
    for turn in request["messages"]:
        total += FRAME
        for block in turn["content"]:
            if "text" in block:
                total += text_tokens(block["text"])
            elif "toolUse" in block or "toolResult" in block:
                total += json_tokens(block)
            elif "cachePoint" not in block:
                total += ATTACHMENT
    return total + sum(json_tokens(tool) for tool in (request.get("toolConfig") or {}).get("tools") or ())


def _tool(
    request: Mapping[str, Any], tools: list[dict[str, Any]], prompt: str, faults: Faults
) -> Mapping[str, Any] | None:
    """Which tool is called: a forced one, or the first whose name the user wrote, unless it just ran."""
    wish = (request.get("toolConfig") or {}).get("toolChoice") or {"auto": {}}
    if not tools:
        return None
    if "tool" in wish:
        return next((tool for tool in tools if tool["name"] == wish["tool"].get("name")), None)
    if "any" in wish or faults.tool:
        return tools[0]
    if any("toolResult" in block for block in request["messages"][-1]["content"]):
        return None
    return next((tool for tool in tools if tool["name"] in prompt), None)
