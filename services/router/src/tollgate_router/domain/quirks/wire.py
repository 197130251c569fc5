"""One provider's ways with OpenAI's wire."""

from typing import Any, Final

import msgspec

from tollgate_resources import Quirks, RequestQuirks
from tollgate_router.domain.quirks.asking import RequestEdit
from tollgate_router.domain.quirks.errors import ErrorReading
from tollgate_router.domain.quirks.replies import ReplyEdit
from tollgate_router.domain.upstream_errors import UpstreamProblem, unreadable

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_FAILED: Final = {"message": "The answer ended with an error.", "type": "server_error"}
# What is in every whole reply that keeps to the wire.
_EXPECTED: Final = (b'"content"', b'"role"', b'"index"', b'"finish_reason"')
_MARKS: Final = (b'"error"', b'"reasoning"')


class WireQuirks:
    """Made once for each channel; `quirks` is None for a provider that has none."""

    def __init__(self, quirks: Quirks | None = None) -> None:
        data = quirks or Quirks()
        self.request = None if data.request == RequestQuirks() else RequestEdit(data.request)
        """None: requests go as they are."""
        self.responses = None if data.responses == RequestQuirks() else RequestEdit(data.responses)
        """The same of bodies of the Responses API."""
        self.takes_thoughts = data.request.returns_reasoning is not None
        """The thoughts of earlier turns are sent back."""
        self.can_switch_off = data.request.thinking_switch is True
        """An effort of none is understood, whatever the model."""
        self.keeps_extra = data.request.extra_content is True
        """Calls come and go with `extra_content`."""
        self.asks_usage = data.request.stream_options is not False
        self.reply = ReplyEdit(data.reply)
        self.errors = ErrorReading(data)
        self._searching = data.searching
        self._tools_by_responses = data.tools_by_responses
        self._paths = data.paths
        self._query = "&".join(f"{name}={value}" for name, value in data.query.items())
        self._finishes = tuple(f'"{word}"'.encode() for word in data.reply.finish_reasons)
        self._marks = (*_MARKS, *self.reply.marks, *self.errors.marks, *self._finishes)

    def searches(self, model: str) -> bool:
        """Tells whether a model of the provider searches the web for every answer, unreported."""
        return any(piece in model for piece in self._searching)

    def tools_by_responses(self, model: str) -> bool:
        """Tells whether chat with a model of the provider refuses to think where it has tools."""
        return model.startswith(self._tools_by_responses)

    def path(self, operation: str, usual: bytes) -> bytes:
        """Returns the path of an operation below the base URL, with what is sent in the query."""
        own = self._paths.get(operation)
        path = usual if own is None else own.encode()
        if not self._query:
            return path
        return path + (b"&" if b"?" in path else b"?") + self._query.encode()

    def failed(self) -> UpstreamProblem:
        """Returns what an answer means that ended with an error and says no more of it."""
        return self.errors.means(0, _FAILED, 0)

    def whole(self, body: bytes, *, chat: bool) -> bytes | UpstreamProblem:
        """Returns a whole reply as OpenAI's wire has it: itself, where it shows nothing else."""
        if chat and self.reply.looks_into_all:
            return self._mended(body)
        if not any(mark in body for mark in self._marks) and (not chat or all(mark in body for mark in _EXPECTED)):
            return body
        return self._mended(body)

    def _mended(self, body: bytes) -> bytes | UpstreamProblem:
        try:
            found = msgspec.json.decode(body)
        except _BROKEN:
            return unreadable()
        if not isinstance(found, dict):
            return unreadable()
        problem = self.errors.within(found)
        if problem is not None:
            return problem
        found.pop("error", None)
        usage = self.reply.usage(found)
        if usage is not None:
            found["usage"] = usage
        choices = found.get("choices")
        if not isinstance(choices, list):
            return msgspec.json.encode(found)
        for number, choice in enumerate(choices):
            if isinstance(choice, dict) and self._choice(choice, number) == "error":
                return self.failed()
        return msgspec.json.encode(found)

    def _choice(self, choice: dict[str, Any], number: int) -> str | None:
        choice.setdefault("index", number)
        message = choice.get("message")
        if isinstance(message, dict):
            message.setdefault("role", "assistant")
            self.reply.part(message)
            message.setdefault("content", None)
        reason = self.reply.reason(choice.get("finish_reason")) or "stop"
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        choice["finish_reason"] = "tool_calls" if calls and reason == "stop" else reason
        return reason


NO_QUIRKS: Final = WireQuirks()
