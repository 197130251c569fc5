"""Chat on the wire of a compatible vendor: what it refuses, and how its replies look. No I/O."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tollgate_simulator_provider import chat
from tollgate_simulator_provider.refusals import Refused, RefusedByVendor
from tollgate_simulator_provider.vendors import Ways, vendors

INVALID = "invalid_parameter"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of OpenAI's shape, said in the vendor's ways."""

    said: chat.Reply
    ways: Ways
    apart: bool
    """Thoughts come apart from the text."""

    @property
    def units(self) -> dict[str, int]:
        return self.said.units

    @property
    def include_usage(self) -> bool:
        return True

    def usage(self) -> object:
        """Returns the usage object to send."""
        return self.said.usage()

    def body(self) -> bytes:
        """Returns the reply that is no stream."""
        reply = json.loads(self.said.body())
        for choice in reply["choices"]:
            message = choice["message"]
            thought = message.pop("reasoning_content", "")
            message.update(self._said(message.get("content"), thought))
            choice["finish_reason"] = self._end(choice["finish_reason"])
        return _json({**reply, **self.ways.fine})

    def frames(self) -> Iterator[bytes]:
        """Yields the chunks of the stream with their framing."""
        ways = self.ways
        if ways.opening:
            yield f"{ways.opening}\n\n".encode()
        usage = self.usage()
        text = ""
        for delta, finish in self._deltas():
            text += delta["content"] if isinstance(delta.get("content"), str) else ""
            choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish}
            if "message" in ways.repeats:
                choice["message"] = {"role": "assistant", "content": text}
            chunk: dict[str, Any] = {**self._head(), "choices": [choice], **ways.fine}
            if "error" in ways.repeats:
                chunk["error"] = None
            if usage is not None:
                self._add_usage(chunk, choice, usage, last=finish is not None)
            yield _frame(chunk)
        if ways.usage == "asked" and self.said.include_usage and usage is not None:
            yield _frame({**self._head(), "choices": [], "usage": usage})
        if "done" not in ways.lacks and not self.said.faults.no_done:
            yield b"data: [DONE]\n\n"

    def _head(self) -> dict[str, Any]:
        said = self.said
        return {"id": said.id, "object": "chat.completion.chunk", "created": said.created, "model": said.model}

    def _add_usage(self, chunk: dict[str, Any], choice: dict[str, Any], usage: object, *, last: bool) -> None:
        kind = self.ways.usage
        if kind == "every" or (kind == "finish" and last):
            chunk["usage"] = usage
        elif kind == "choice" and last:
            choice["usage"] = usage
        elif kind == "x_groq" and last:
            chunk["x_groq"] = {"id": "req_1", "usage": usage}

    def _deltas(self) -> Iterator[tuple[dict[str, Any], str | None]]:
        (choice,) = self.said.choices[:1]
        repeated = {"role": "assistant"} if "role" in self.ways.repeats else {}
        yield {"role": "assistant", "content": None if choice.tool else ""}, None
        for place, piece in enumerate(self.said.thoughts):
            opening = "" if self.apart or place else "<think>"
            closing = "" if self.apart or place + 1 < len(self.said.thoughts) else "</think>"
            yield {**repeated, **self._said(None, piece if self.apart else f"{opening}{piece}{closing}")}, None
        if choice.tool:
            yield from (({**repeated, **delta}, None) for delta in self._calls(choice.tool, choice.pieces))
        else:
            for piece in choice.pieces:
                yield {**repeated, **self._said(piece, "")}, None
        yield {**repeated}, self._end(choice.finish)

    def _calls(self, name: str, pieces: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        index = {} if "index" in self.ways.lacks else {"index": 0}
        named = {**index, "id": f"call_{self.said.id[-12:]}", "type": "function"}
        if self.ways.whole_calls:
            yield {"tool_calls": [{**named, "function": {"name": name, "arguments": "".join(pieces)}}]}
            return
        yield {"tool_calls": [{**named, "function": {"name": name, "arguments": ""}}]}
        for piece in pieces:
            if "call" in self.ways.repeats:
                yield {"tool_calls": [{**named, "function": {"name": name, "arguments": piece}}]}
            else:
                yield {"tool_calls": [{**index, "function": {"arguments": piece}}]}

    def _said(self, text: str | None, thought: str) -> dict[str, Any]:
        """Returns the members of a delta or message that say a text and a thought."""
        if thought and not self.apart:
            return {"content": f"{thought}{text or ''}"}
        kind = self.ways.reasoning
        if kind == "parts":
            if not thought:
                return {"content": text}
            parts: list[dict[str, Any]] = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}]
            return {"content": [*parts, *([{"type": "text", "text": text}] if text else [])]}
        found: dict[str, Any] = {"content": text}
        if thought:
            found |= {"reasoning_details": [{"text": thought}]} if kind == "details" else {kind: thought}
        return found

    def _end(self, finish: str) -> str:
        wanted = self.said.faults.finish or finish
        return self.ways.ends.get(wanted, wanted)


def build(vendor: str, request: Mapping[str, Any], said: chat.Reply) -> Reply:
    """Returns the vendor's reply to a request that `check` let through."""
    ways = vendors()[vendor]
    return Reply(said, ways, all(request.get(name) == value for name, value in ways.needs.items()))


def check(vendor: str, request: Mapping[str, Any]) -> None:
    """Raises RefusedByVendor for a request that this vendor would not take, and Refused for one that nobody does."""
    ways = vendors()[vendor]
    for name in request:
        if name in ways.refuses or (ways.takes and name not in ways.takes):
            raise refusal(vendor, INVALID, name)
    form = request.get("response_format")
    if ways.formats and isinstance(form, dict) and form.get("type") not in ways.formats:
        raise refusal(vendor, INVALID, "response_format")
    for message in request.get("messages") or ():
        if not isinstance(message, dict):
            continue
        if ways.roles and message.get("role") not in ways.roles:
            raise refusal(vendor, INVALID, "messages")
        for name in ways.refuses_in_messages:
            if name in message:
                raise refusal(vendor, INVALID, f"messages.{name}")
    chat.check(request)
    _check_thoughts(request, ways)


def _check_thoughts(request: Mapping[str, Any], ways: Ways) -> None:
    if (request.get("thinking") or {}).get("type") == "disabled" or request.get("model") in ways.plain:
        return
    for place, message in enumerate(request["messages"]):
        if message.get("role") != "assistant" or message.get("reasoning_content"):
            continue
        if ways.returns == "all" and (request.get("tools") or message.get("tool_calls")):
            said = "The `reasoning_content` in the thinking mode must be passed back to the API."
            raise Refused(400, said)
        if ways.returns == "calls" and message.get("tool_calls"):
            said = (
                f"thinking is enabled but reasoning_content is missing in assistant tool call message at index {place}"
            )
            raise Refused(400, said)


def refusal(vendor: str, kind: str, param: str = "messages") -> Exception:
    """Returns the vendor's refusal of a kind; a plain one where none is recorded."""
    found = vendors()[vendor].refused.get(kind)
    if found is None:
        return Refused(400, f"[simulated] {kind}: {param}", param=param)
    body = found["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    return RefusedByVendor(found["status"], text.replace("{param}", param).encode())


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _frame(chunk: object) -> bytes:
    return b"data: %b\n\n" % _json(chunk)
