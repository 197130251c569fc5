"""Gemini's generateContent: from a request to the bytes of its reply or of the chunks of its stream. No I/O.

It is as strict as the vendor where a gateway could get it wrong: who speaks, answers of functions behind their calls,
signatures of calls, names of members, values out of range.
"""

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tollgate_simulator_provider import answers, odds, searching, vectors
from tollgate_simulator_provider.faults import Faults
from tollgate_simulator_provider.refusals import Refused
from tollgate_simulator_provider.tokens import ATTACHMENT, FRAME, counted, json_tokens, text_tokens

PATH = re.compile(
    r"/gemini/v1(?:beta)?/models/([^:/]+):(generateContent|streamGenerateContent|embedContent|batchEmbedContents)"
)
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
# Where a file may be fetched from.
FILE = re.compile(r"(?:https|gs)://[^\s/]+/")
MOST_CANDIDATES = 8
MOST_ODDS = 20
# What stands in for the signature of a call that another model made.
NO_SIGNATURE = "skip_thought_signature_validator"
# Members whose contents are the caller's own.
FREE = {"args", "response", "parametersJsonSchema", "parameters", "responseSchema", "responseJsonSchema"}
MEMBERS = {
    *("contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent"),
    *("labels", "store"),
}


def embed(request: Mapping[str, Any], model: str, *, batch: bool) -> tuple[dict[str, Any], dict[str, int]]:
    """Returns the reply to `embedContent` or a batch of them, and the units counted. Raises Refused."""
    requests = request.get("requests") if batch else [request]
    if not isinstance(requests, list) or not requests:
        raise Refused(400, "BatchEmbedContentsRequest.requests: must not be empty")
    found, count = [], 0
    for one in requests:
        if one.get("model") not in {f"models/{model}", None if not batch else ""}:
            raise Refused(400, "EmbedContentRequest.model: unexpected model name format")
        unknown = set(one) - {"model", "content", "taskType", "title", "outputDimensionality"}
        parts = (one.get("content") or {}).get("parts")
        if unknown or not isinstance(parts, list) or not parts or any("text" not in part for part in parts):
            raise Refused(400, f"Invalid JSON payload received. {sorted(unknown)}")
        text = "".join(part["text"] for part in parts)
        count += max(1, text_tokens(text))
        size = one.get("outputDimensionality") or vectors.LARGE
        if type(size) is not int or not 1 <= size <= vectors.LARGE:
            raise Refused(400, f"Unsupported output dimensionality: {size}.")
        found.append({"values": vectors.encoded(vectors.embed(model, text, size), "float")})
    reply = {"embeddings": found} if batch else {"embedding": found[0]}
    return {**reply, "usageMetadata": {"promptTokenCount": count}}, {"input": count}


def error_body(status: int, message: str, retry_after: str = "") -> bytes:
    """Returns the JSON body of an error; the wait is in its details, as the vendor says it."""
    error: dict[str, Any] = {"code": status, "message": message, "status": STATUSES.get(status, "INTERNAL")}
    if retry_after:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        error["details"] = [{"@type": kind, "retryDelay": f"{retry_after}s"}]
    return json.dumps({"error": error}).encode()


@dataclass(frozen=True, slots=True)
class Reply:
    """All that is to be said to one request."""

    id: str
    model: str
    choice: answers.Choice
    thoughts: tuple[str, ...]
    prompt: int
    cached: int
    faults: Faults
    searched: bool = False
    include_usage: bool = True
    others: tuple[answers.Choice, ...] = ()
    """Further candidates, which have no thoughts to show."""
    likeliest: int | None = None
    """How many of the likeliest pieces are told for each; None: nothing of the sort."""

    @property
    def units(self) -> dict[str, int]:
        """What was counted: `input` without what was read from a cache, `output` without `reasoning`."""
        said, thought = self._said, len(self.thoughts)
        # Until Gemini 3 a search was charged for each answer, since then for each query.
        old = re.match(r"gemini-[12]\b", self.model)
        searches = (1 if old else len(searching.QUERIES)) if self.searched else 0
        return counted(self.prompt, self.cached, output=said, reasoning=thought, search=searches)

    @property
    def _said(self) -> int:
        return sum(len(choice.pieces) for choice in (self.choice, *self.others))

    def usage(self) -> dict[str, Any] | None:
        """Returns the counts to send, which a fault may have made wrong; None: not to be sent."""
        said, thought = self._said, len(self.thoughts)
        usage = {
            "promptTokenCount": self.prompt,
            "cachedContentTokenCount": self.cached,
            "candidatesTokenCount": said,
            "thoughtsTokenCount": thought,
            "totalTokenCount": self.prompt + said + thought,
        }
        return self.faults.told(usage, "candidatesTokenCount")

    def body(self) -> bytes:
        """Returns the reply that is no stream."""
        parts: list[dict[str, Any]] = []
        if self.thoughts:
            parts.append({"text": "".join(self.thoughts), "thought": True})
        parts.append(_call(self.choice) if self.choice.tool else {"text": self.choice.text})
        others = [
            self._candidate([_call(choice) if choice.tool else {"text": choice.text}], number, choice.finish)
            | self._odds(() if choice.tool else choice.pieces)
            for number, choice in enumerate(self.others, 1)
        ]
        first = self._candidate(parts, 0, self.choice.finish)
        return self._chunk(first | self._odds(() if self.choice.tool else self.choice.pieces), *others)

    def frames(self) -> Iterator[bytes]:
        """Yields the chunks of the stream with their framing; the end of the connection is its end."""
        for thought in self.thoughts:
            yield self._frame(self._candidate([{"text": thought, "thought": True}]))
        # What the candidates say comes side by side.
        said = [() if choice.tool else choice.pieces for choice in (self.choice, *self.others)]
        for pieces in itertools.zip_longest(*said):
            yield self._frame(
                *(
                    self._candidate([{"text": one}], number) | self._odds((one,))
                    for number, one in enumerate(pieces)
                    if one is not None
                )
            )
        if not self.faults.no_done:
            for number, choice in enumerate((self.choice, *self.others)):
                last = [_call(choice)] if choice.tool else [{"text": ""}]
                yield self._frame(self._candidate(last, number, choice.finish))

    def _frame(self, *candidates: dict[str, Any]) -> bytes:
        return b"data: %b\r\n\r\n" % self._chunk(*candidates)

    def _candidate(self, parts: list[dict[str, Any]], number: int = 0, finish: str = "") -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": number}
        if finish:
            candidate["finishReason"] = REASONS[finish]
            if self.searched and not number:
                candidate["groundingMetadata"] = self._grounding()
        return candidate

    def _odds(self, pieces: Sequence[str]) -> dict[str, Any]:
        """Returns how likely these pieces were, where somebody asked."""
        if self.likeliest is None or not pieces:
            return {}
        top = [[_likely(*one) for one in odds.likeliest(piece, self.likeliest)] for piece in pieces]
        result = {"chosenCandidates": [_likely(piece, odds.chosen(piece)) for piece in pieces]}
        result["topCandidates"] = [{"candidates": found} for found in top]
        return {"avgLogprobs": sum(map(odds.chosen, pieces)) / len(pieces), "logprobsResult": result}

    def _chunk(self, *candidates: dict[str, Any]) -> bytes:
        chunk: dict[str, Any] = {"candidates": list(candidates), "modelVersion": self.model, "responseId": self.id}
        usage = self.usage()
        if usage is not None:
            chunk["usageMetadata"] = usage
        return json.dumps(chunk, separators=(",", ":")).encode()

    def _grounding(self) -> dict[str, Any]:
        """What was searched for and found; places in the text are in bytes."""
        supports = []
        for number, one in enumerate(searching.cited(self.choice.pieces)):
            before, words = ("".join(self.choice.pieces[: one.begin]), "".join(self.choice.pieces[one.begin : one.end]))
            segment = {"endIndex": len((before + words).encode()), "text": words}
            # The vendor leaves out a place that is 0.
            segment |= {"startIndex": len(before.encode())} if before else {}
            supports.append({"segment": segment, "groundingChunkIndices": [number], "confidenceScores": [0.9]})
        return {
            "webSearchQueries": list(searching.QUERIES),
            "searchEntryPoint": {"renderedContent": "<div>simulated</div>"},
            "groundingChunks": [{"web": {"uri": page.url, "title": page.title}} for page in searching.PAGES],
            "groundingSupports": supports,
        }


def _call(choice: answers.Choice) -> dict[str, Any]:
    call = {"name": choice.tool, "args": json.loads(choice.text)}
    return {"functionCall": call, "thoughtSignature": signature_of(call)}


def _likely(piece: str, logarithm: float) -> dict[str, Any]:
    return {"token": piece, "tokenId": len(piece), "logProbability": logarithm}


def signature_of(call: Mapping[str, Any]) -> str:
    """Returns what a call of this model comes with, and must come back with; another call has another."""
    said = json.dumps([call["name"], call.get("args") or {}], sort_keys=True).encode()
    return base64.b64encode(hashlib.sha256(b"gemini" + said).digest()).decode()


def plainly(value: Any) -> Any:
    """Returns a request with its members in camelCase: the vendor takes both spellings, its own clients send both."""
    if isinstance(value, list):
        return [plainly(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, inner in value.items():
        camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
        found[camel] = inner if camel in FREE else plainly(inner)
    return found


def build(request: Mapping[str, Any], model: str, faults: Faults, reply_id: str) -> Reply:
    """Returns the reply to a request that `check` let through."""
    contents = request["contents"]
    config = request.get("generationConfig") or {}
    tools = [
        {"name": one["name"], "parameters": one.get("parametersJsonSchema") or one.get("parameters")}
        for tool in request.get("tools") or ()
        for one in tool.get("functionDeclarations") or ()
    ]
    prompt = answers.last_of_user([_plain(content) for content in contents])
    thinking = config.get("thinkingConfig") or {}
    thoughts = faults.reasoning or (8 if thinking.get("includeThoughts") else 0)
    limit = config.get("maxOutputTokens")
    question = answers.Question(
        messages=contents,
        seed=answers.seed_of(model, contents),
        prompt=prompt,
        limit=-1 if limit is None else max(0, limit - thoughts),
        stop=tuple(config.get("stopSequences") or ()),
        tool=_tool(request, tools, prompt, faults),
        schema=config.get("responseJsonSchema") or config.get("responseSchema"),
    )
    count = _prompt_tokens(request)
    choice = answers.choice(question, 0, faults)
    offered = any("googleSearch" in tool for tool in request.get("tools") or ())
    return Reply(
        id=reply_id.replace("chatcmpl-", ""),
        model=model,
        choice=choice,
        thoughts=answers.thoughts(question, thoughts if limit is None else min(thoughts, limit)),
        prompt=count,
        cached=min(count, faults.cached),
        faults=faults,
        searched=offered and not choice.tool and "google_search" in prompt,
        others=tuple(
            answers.choice(question, number, faults) for number in range(1, config.get("candidateCount") or 1)
        ),
        likeliest=(config.get("logprobs") or 0) if config.get("responseLogprobs") else None,
    )


def check_shape(request: Mapping[str, Any]) -> None:
    """Raises Refused for a value of another type than the vendor's message has there."""
    for name in ("systemInstruction", "generationConfig", "toolConfig", "content"):
        _typed(request, name, dict, name)
    for name in ("contents", "requests", "tools", "safetySettings"):
        _typed(request, name, list, name)
    for name in ("contents", "requests", "tools"):
        for place, one in enumerate(request.get(name) or ()):
            where = f"{name}[{place}]"
            if not isinstance(one, dict):
                raise Refused(400, f"Invalid value at '{where}'")
            _check_content(one, where)
            _typed(one, "content", dict, f"{where}.content")
            _check_content(one.get("content") or {}, f"{where}.content")
    for name in ("systemInstruction", "content"):
        _check_content(request.get(name) or {}, name)


def _check_content(content: Mapping[str, Any], where: str) -> None:
    _typed(content, "parts", list, f"{where}.parts")
    _typed(content, "role", str, f"{where}.role")
    for place, part in enumerate(content.get("parts") or ()):
        here = f"{where}.parts[{place}]"
        if not isinstance(part, dict):
            raise Refused(400, f"Invalid value at '{here}'")
        _typed(part, "text", str, f"{here}.text")
        for name in ("inlineData", "fileData", "functionCall", "functionResponse"):
            _typed(part, name, dict, f"{here}.{name}")
        for name in ("functionCall", "functionResponse"):
            if name in part and not isinstance((part[name] or {}).get("name"), str):
                raise Refused(400, f"Invalid value at '{here}.{name}.name'")


def _typed(holder: Mapping[str, Any], name: str, kind: type, where: str) -> None:
    if not isinstance(holder.get(name), kind | None):
        raise Refused(400, f"Invalid value at '{where}'")


def check(request: Mapping[str, Any], model: str = "") -> None:
    """Raises Refused for a request that the real wire would not take."""
    for name in request:
        if name not in MEMBERS:
            raise Refused(400, f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    contents = request.get("contents")
    if not isinstance(contents, list) or not contents:
        raise Refused(400, "* GenerateContentRequest.contents: contents is not specified")
    calls: list[str] = []
    for content in contents:
        if content.get("role") not in {None, "user", "model"}:
            raise Refused(400, "Please use a valid role: user, model.")
        calls = _check_parts(content, calls)
    _check_config(request.get("generationConfig") or {}, model)


def _check_config(config: Mapping[str, Any], model: str) -> None:
    count = config.get("candidateCount") or 1
    if count > 1 and re.match(r"gemini-2\b", model) is None:
        raise Refused(400, "Multiple candidates is not enabled for this model")
    if count > MOST_CANDIDATES:
        raise Refused(400, f"The candidateCount value {count} is not in the range from 1 to {MOST_CANDIDATES}.")
    if config.get("responseLogprobs") and re.match(r"gemini-2\b", model) is None:
        raise Refused(400, "Unable to submit request because Logprobs is not supported for this model.")
    others = config.get("logprobs")
    if others is not None and not (config.get("responseLogprobs") and 0 <= others <= MOST_ODDS):
        raise Refused(400, "Unable to submit request because it has a logprobs value that is out of range.")
    temperature = config.get("temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        raise Refused(400, "* GenerateContentRequest.generation_config.temperature: must be in the range [0.0, 2.0]")


def _check_parts(content: Mapping[str, Any], calls: Sequence[str]) -> list[str]:
    """Returns the names of the calls that the next content must answer."""
    parts = content.get("parts") or []
    if not parts:
        raise Refused(400, "* GenerateContentRequest.contents.parts: contents.parts must not be empty.")
    answered = [part["functionResponse"]["name"] for part in parts if "functionResponse" in part]
    if len(answered) != len(calls) or sorted(answered) != sorted(calls):
        raise Refused(
            400,
            "Please ensure that the number of function response parts is equal to the number of function call parts "
            "of the function call turn.",
        )
    made = [part for part in parts if "functionCall" in part]
    if made and not made[0].get("thoughtSignature"):
        raise Refused(400, "Function call is missing a thought_signature in functionCall parts.")
    for part in made:
        if part.get("thoughtSignature") not in {None, NO_SIGNATURE, signature_of(part["functionCall"])}:
            raise Refused(400, "Thought signature is not valid.")
    for part in parts:
        file = part.get("fileData")
        if file is not None and not FILE.match(str(file.get("fileUri"))):
            raise Refused(400, "Invalid or unsupported file uri: " + str(file.get("fileUri"))[:100])
        if file is not None and not file.get("mimeType"):
            raise Refused(400, "* GenerateContentRequest.contents.parts.file_data.mime_type: must be set")
        if "functionResponse" in part and not isinstance(part["functionResponse"].get("response"), dict):
            raise Refused(400, "Invalid value at 'function_response.response' (Struct)")
    return [part["functionCall"]["name"] for part in made]


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    role = "assistant" if content.get("role") == "model" else "user"
    return {"role": role, "content": [part for part in content.get("parts") or () if "text" in part]}


def _prompt_tokens(request: Mapping[str, Any]) -> int:
    """Counts as `tokens` says; a part that is no text and no call costs an attachment."""
    total = 0
    instruction = request.get("systemInstruction") or {}
    total += sum(FRAME + text_tokens(str(part.get("text", ""))) for part in instruction.get("parts") or ())
    for content in request["contents"]:
        total += FRAME
        for part in content.get("parts") or ():
            if "text" in part:
                total += text_tokens(str(part["text"]))
            elif "functionCall" in part or "functionResponse" in part:
                total += json_tokens(part)
            else:
                total += ATTACHMENT
    return total + sum(json_tokens(tool) for tool in request.get("tools") or ())


def _tool(
    request: Mapping[str, Any], tools: list[dict[str, Any]], prompt: str, faults: Faults
) -> Mapping[str, Any] | None:
    """Which tool is called: a forced one, or the first whose name the user wrote, unless it just ran."""
    wish = (request.get("toolConfig") or {}).get("functionCallingConfig") or {}
    if not tools or wish.get("mode") == "NONE":
        return None
    names = wish.get("allowedFunctionNames") or [tool["name"] for tool in tools]
    allowed = [tool for tool in tools if tool["name"] in names]
    if wish.get("mode") == "ANY" or faults.tool:
        return allowed[0]
    if any("functionResponse" in part for part in request["contents"][-1]["parts"]):
        return None
    return next((tool for tool in tools if tool["name"] in prompt), None)
