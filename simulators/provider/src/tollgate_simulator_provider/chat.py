"""Chat completions: from a request to the bytes of its reply or of the chunks of its stream. No I/O."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tollgate_simulator_provider import answers, odds, searching
from tollgate_simulator_provider.faults import Faults
from tollgate_simulator_provider.refusals import Refused
from tollgate_simulator_provider.tokens import counted, prompt_tokens

ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
MOST_CHOICES = 8
MOST_ODDS = 20
MOST_PIECES = 100_000
THINKING = re.compile(r"gpt-(5\.[4-9]|[6-9])")
SEARCHING = re.compile(r"-search-(api|preview)\b")


@dataclass(frozen=True, slots=True)
class Reply:
    """All that is to be said to one request."""

    id: str
    created: int
    model: str
    choices: tuple[answers.Choice, ...]
    thoughts: tuple[str, ...]
    prompt: int
    cached: int
    faults: Faults
    include_usage: bool
    others: int | None = None
    """How many of the likeliest pieces are told for each; None: nothing of the sort."""

    @property
    def units(self) -> dict[str, int]:
        """What was counted: `input` without what was read from a cache, `output` without `reasoning`."""
        said = sum(len(choice.pieces) for choice in self.choices)
        thought = len(self.thoughts) * len(self.choices)
        return counted(self.prompt, self.cached, output=said, reasoning=thought, search=int(self.searched))

    @property
    def searched(self) -> bool:
        """The models that search do so for every answer."""
        return SEARCHING.search(self.model) is not None

    def usage(self) -> dict[str, Any] | None:
        """Returns the usage object to send, which a fault may have made wrong; None: not to be sent."""
        thought = len(self.thoughts) * len(self.choices)
        completion = sum(len(choice.pieces) for choice in self.choices) + thought
        usage = {
            "prompt_tokens": self.prompt,
            "completion_tokens": completion,
            "total_tokens": self.prompt + completion,
            "prompt_tokens_details": {"cached_tokens": self.cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": thought, "audio_tokens": 0},
        }
        return self.faults.told(usage, "completion_tokens")

    def body(self) -> bytes:
        """Returns the reply that is no stream."""
        choices = [
            {"index": index, "message": self._message(choice), "logprobs": self._odds(choice)}
            | {"finish_reason": choice.finish}
            for index, choice in enumerate(self.choices)
        ]
        reply = {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
            "usage": self.usage(),
            "service_tier": "default",
            "system_fingerprint": "fp_simulated",
        }
        if reply["usage"] is None:
            del reply["usage"]
        return _json(reply).encode()

    def frames(self) -> Iterator[bytes]:
        """Yields the chunks of the stream with their framing, the last one being [DONE]."""
        head = _json({"id": self.id, "object": "chat.completion.chunk", "created": self.created})[1:-1]
        head += f',"model":{json.dumps(self.model)},"service_tier":"default","system_fingerprint":"fp_simulated"'
        tail = b',"usage":null}\n\n' if self.include_usage else b"}\n\n"
        opening = b"data: {" + head.encode()
        for index, delta, finish, *told in self._deltas():
            yield opening + _choice(index, delta, finish, *told) + tail
        if self.include_usage and (usage := self.usage()) is not None:
            yield opening + b',"choices":[],"usage":' + _json(usage).encode() + b"}\n\n"
        if not self.faults.no_done:
            yield b"data: [DONE]\n\n"

    def _odds(self, choice: answers.Choice, place: slice = slice(None)) -> dict[str, Any] | None:
        """Returns how likely the pieces at a place were; None where nobody asked or a tool is called."""
        if self.others is None or choice.tool:
            return None
        content = [
            _likely(piece, odds.chosen(piece))
            | {"top_logprobs": [_likely(*one) for one in odds.likeliest(piece, self.others)]}
            for piece in choice.pieces[place]
        ]
        return {"content": content, "refusal": None}

    def _deltas(self) -> Iterator[tuple[int, str, str] | tuple[int, str, str, str]]:
        """Yields index, delta and finish reason, as JSON text, of every chunk of the choices; odds where asked for."""
        for index, choice in enumerate(self.choices):
            first: dict[str, Any] = {"role": "assistant", "content": None if choice.tool else "", "refusal": None}
            yield index, _json(first), "null"
        for piece in self.thoughts:
            for index in range(len(self.choices)):
                yield index, f'{{"reasoning_content":{json.dumps(piece)}}}', "null"
        for index, choice in enumerate(self.choices):
            if choice.tool:
                yield index, _json(self._tool_opening(index, choice)), "null"
        for place in range(max(len(choice.pieces) for choice in self.choices)):
            for index, choice in enumerate(self.choices):
                if place < len(choice.pieces):
                    yield index, _delta(choice, place), "null", _json(self._odds(choice, slice(place, place + 1)))
        yield from self._ends()

    def _ends(self) -> Iterator[tuple[int, str, str]]:
        for index, choice in enumerate(self.choices):
            if self.searched:
                yield index, _json({"annotations": _annotations(choice)}), "null"
            yield index, "{}", f'"{choice.finish}"'

    def _message(self, choice: answers.Choice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}
        if self.searched:
            message["annotations"] = _annotations(choice)
        if self.thoughts:
            message["reasoning_content"] = "".join(self.thoughts)
        if choice.tool:
            call = {"name": choice.tool, "arguments": choice.text}
            message["content"] = None
            message["tool_calls"] = [{"id": f"call_{self.id[-12:]}", "type": "function", "function": call}]
        return message

    def _tool_opening(self, index: int, choice: answers.Choice) -> dict[str, Any]:
        call = {"name": choice.tool, "arguments": ""}
        opening = {"index": 0, "id": f"call_{self.id[-12:]}{index or ''}", "type": "function", "function": call}
        return {"tool_calls": [opening]}


def _annotations(choice: answers.Choice) -> list[dict[str, Any]]:
    found = []
    for one in () if choice.tool else searching.cited(choice.pieces):
        begin, end = searching.letters(choice.pieces, one)
        place = {"start_index": begin, "end_index": end, "url": one.page.url, "title": one.page.title}
        found.append({"type": "url_citation", "url_citation": place})
    return found


def build(request: Mapping[str, Any], faults: Faults, reply_id: str, created: int) -> Reply:
    """Returns the reply to a request that `check` let through."""
    messages = request["messages"]
    tools = [tool["function"] for tool in request.get("tools") or () if isinstance(tool.get("function"), dict)]
    prompt = answers.last_of_user(messages)
    limit = request.get("max_completion_tokens", request.get("max_tokens"))
    stop = request.get("stop") or ()
    form = request.get("response_format") or {}
    question = answers.Question(
        messages=messages,
        seed=answers.seed_of(request["model"], messages),
        prompt=prompt,
        limit=-1 if limit is None else max(0, limit - faults.reasoning),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        tool=_tool(request, tools, prompt, faults),
        schema=_schema(form),
    )
    count = prompt_tokens(messages, [*tools, form.get("json_schema")])
    options = request.get("stream_options") or {}
    return Reply(
        id=reply_id,
        created=created,
        model=request["model"],
        choices=tuple(answers.choice(question, index, faults) for index in range(request.get("n") or 1)),
        thoughts=answers.thoughts(question, faults.reasoning if limit is None else min(limit, faults.reasoning)),
        prompt=count,
        cached=min(count, faults.cached),
        faults=faults,
        include_usage=bool(options.get("include_usage")),
        others=(request.get("top_logprobs") or 0) if request.get("logprobs") else None,
    )


def check(request: Mapping[str, Any]) -> None:
    """Raises Refused for a request that the real wire would not take."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "Missing or empty 'messages'.", param="messages", code="missing_required_parameter")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise Refused(400, f"Invalid message {place}: no known role.", param=f"messages[{place}].role")
    for name, lowest, highest in (("n", 1, MOST_CHOICES), ("max_tokens", 1, None), ("max_completion_tokens", 1, None)):
        value = request.get(name)
        if value is None:
            continue
        if type(value) is not int or value < lowest or (highest is not None and value > highest):
            code = "integer_below_min_value" if type(value) is int and value < lowest else "invalid_value"
            raise Refused(400, f"Invalid '{name}': {value!r}.", param=name, code=code)
    if request.get("web_search_options") is not None and not SEARCHING.search(request["model"]):
        raise Refused(400, "Unknown parameter: 'web_search_options'.", param="web_search_options")
    others = request.get("top_logprobs")
    if others is not None and not (request.get("logprobs") and type(others) is int and 0 <= others <= MOST_ODDS):
        raise Refused(400, "Invalid 'top_logprobs'.", param="top_logprobs")
    _check_tools(request)
    _check_shapes(request)


def _check_tools(request: Mapping[str, Any]) -> None:
    """The newer models think in a chat only where it has no tools; the newest do so unasked."""
    effort = request.get("reasoning_effort")
    thinks = effort != "none" and (effort is not None or not request["model"].startswith("gpt-5.4"))
    if request.get("tools") and thinks and THINKING.match(request["model"]):
        raise Refused(
            400,
            f"Function tools with reasoning_effort are not supported for {request['model']} in /v1/chat/completions. "
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
            param="reasoning_effort",
        )


def _check_shapes(request: Mapping[str, Any]) -> None:
    stop = request.get("stop") or []
    if not isinstance(stop, str) and not (isinstance(stop, list) and all(isinstance(item, str) for item in stop)):
        raise Refused(400, "Invalid 'stop': must be a string or an array of strings.", param="stop")
    for name in ("stream_options", "response_format"):
        if request.get(name) is not None and not isinstance(request[name], dict):
            raise Refused(400, f"Invalid '{name}': must be an object.", param=name)
    if request.get("stream_options") is not None and not request.get("stream"):
        raise Refused(
            400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    tools = request.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise Refused(400, "Invalid 'tools': must be an array of objects.", param="tools")


def _schema(form: Mapping[str, Any]) -> object:
    if form.get("type") == "json_schema":
        return (form.get("json_schema") or {}).get("schema", {})
    return (
        {"type": "object", "properties": {"simulated": {"const": True}}} if form.get("type") == "json_object" else None
    )


def _tool(
    request: Mapping[str, Any], tools: list[dict[str, Any]], prompt: str, faults: Faults
) -> Mapping[str, Any] | None:
    """Which tool is called: a forced one, or with `auto` the first whose name the user wrote, unless it just ran."""
    wish = request.get("tool_choice", "auto")
    if not tools or wish == "none":
        return None
    if isinstance(wish, dict):
        name = (wish.get("function") or {}).get("name")
        return next((tool for tool in tools if tool.get("name") == name), None)
    if wish == "required" or faults.tool:
        return tools[0]
    if request["messages"][-1].get("role") != "user":
        return None
    return next((tool for tool in tools if str(tool.get("name")) in prompt), None)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _choice(index: int, delta: str, finish: str, odds: str = "null") -> bytes:
    return f',"choices":[{{"index":{index},"delta":{delta},"logprobs":{odds},"finish_reason":{finish}}}]'.encode()


def _likely(piece: str, logarithm: float) -> dict[str, Any]:
    return {"token": piece, "logprob": logarithm, "bytes": list(piece.encode())}


def _delta(choice: answers.Choice, place: int) -> str:
    text = json.dumps(choice.pieces[place])
    if choice.tool:
        return f'{{"tool_calls":[{{"index":0,"function":{{"arguments":{text}}}}}]}}'
    return f'{{"content":{text}}}'
