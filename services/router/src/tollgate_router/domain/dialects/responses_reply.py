"""OpenAI Responses replies, whole and streamed, written from events and neutral replies."""

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.citations import as_annotation
from tollgate_router.domain.dialects.in_order import InOrder
from tollgate_router.domain.dialects.members import object_of
from tollgate_router.domain.dialects.neutral import (
    LENGTH,
    REFUSAL,
    STOP,
    Began,
    Call,
    CallArguments,
    CallBegan,
    Citation,
    Event,
    Finished,
    RefusalDelta,
    Reply,
    Signature,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    answer_tokens,
    prompt_tokens,
)
from tollgate_router.domain.dialects.responses_echo import brief
from tollgate_router.domain.dialects.responses_request import ToolNames, sealed
from tollgate_router.domain.usage import ReplyUsage

_INCOMPLETE: Final = {LENGTH: "max_output_tokens", REFUSAL: "content_filter"}


def usage_of(usage: ReplyUsage | None) -> dict[str, Any]:
    """Returns a usage object; clients want every member of it."""
    units = usage.units if usage is not None else {}
    prompt, answer = prompt_tokens(units), answer_tokens(units)
    written = units.get("cache_write_5m", 0) + units.get("cache_write_1h", 0)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": units.get("cache_read", 0), "cache_write_tokens": written},
        "output_tokens": answer,
        "output_tokens_details": {"reasoning_tokens": units.get("reasoning", 0)},
        "total_tokens": prompt + answer,
    }


class ResponseWriter:
    """Writes the events of one streamed reply; items stand one behind the other.

    Calls of tools that take text go out when they are whole. `created` is in seconds.
    """

    def __init__(self, model: str, created: int, tools: ToolNames) -> None:
        self._model = model
        self._created = created
        self._tools = tools
        self._id = ""
        self._number = 0
        self._output: list[dict[str, Any]] = []
        self._open = ""
        # Of the open item. Adding each delta to one text takes a time that grows with the square of a long answer's.
        self._text = StringIO()
        self._seal = ("", "")
        self._notes: list[dict[str, Any]] = []
        # Letters of text before the open item.
        self._before = 0
        self._call = ("", "")
        self._order = InOrder()
        self._finish = Finished(STOP)

    def write(self, events: Iterable[Event]) -> bytes:
        """Returns the events that say these."""
        return b"".join(frame for event in events for one in self._order.take(event) for frame in self._frames(one))

    def end(self, usage: ReplyUsage | None) -> bytes:
        """Returns what stands behind the last event."""
        frames = [frame for event in self._order.rest() for frame in self._frames(event)]
        frames += self._close()
        status, details = _status(self._finish)
        body = begun_response(self._id, self._model, self._created, status) | {
            **self._tools.echo,
            "output": self._output,
            "incomplete_details": details,
            "usage": usage_of(usage),
        }
        frames.append(self._event(f"response.{status}", response=body))
        return b"".join(frames)

    def _frames(self, event: Event) -> Iterable[bytes]:
        if isinstance(event, Began):
            self._id = self._tools.reply_id or response_id(event.id)
            begun = begun_response(self._id, self._model, self._created, "in_progress") | brief(self._tools.echo)
            yield self._event("response.created", response=begun)
            yield self._event("response.in_progress", response=begun)
        elif isinstance(event, TextDelta | RefusalDelta):
            yield from self._said("text", event.text)
        elif isinstance(event, ThinkingDelta):
            yield from self._said("thought", event.text)
        elif isinstance(event, Signature):
            if self._open != "thought":
                yield from self._close()
                yield from self._begin("thought")
            self._seal = (event.signature, event.hidden)
            yield from self._close()
        elif isinstance(event, CallBegan):
            yield from self._close()
            self._call = event.id, event.name
            yield from self._begin("call")
        elif isinstance(event, Citation):
            yield from self._cited(event)
        elif isinstance(event, CallArguments):
            self._text.write(event.json)
            if self._call[1] not in self._tools.free_form:
                yield self._event("response.function_call_arguments.delta", **self._where(), delta=event.json)
        else:
            self._finish = event

    def _said(self, kind: str, text: str) -> Iterable[bytes]:
        if self._open != kind:
            yield from self._close()
            yield from self._begin(kind)
        self._text.write(text)
        where = self._where()
        if kind == "text":
            yield self._event("response.output_text.delta", **where, content_index=0, delta=text, logprobs=[])
        else:
            yield self._event("response.reasoning_summary_text.delta", **where, summary_index=0, delta=text)

    def _cited(self, event: Citation) -> Iterable[bytes]:
        if self._open == "text":
            note = as_annotation(event, self._before)
            added = {"content_index": 0, "annotation_index": len(self._notes), "annotation": note}
            self._notes.append(note)
            yield self._event("response.output_text.annotation.added", **self._where(), **added)

    def _begin(self, kind: str) -> Iterable[bytes]:
        self._open, self._text, self._seal, self._notes = kind, StringIO(), ("", ""), []
        where = self._where()
        if kind == "text":
            item = _message(where["item_id"], "in_progress", None)
            yield self._event("response.output_item.added", output_index=where["output_index"], item=item)
            yield self._event("response.content_part.added", **where, content_index=0, part=_text_part(""))
        elif kind == "call":
            item = self._called("") | {"status": "in_progress"}
            yield self._event("response.output_item.added", output_index=where["output_index"], item=item)
        else:
            item = {"type": "reasoning", "id": where["item_id"], "summary": []}
            yield self._event("response.output_item.added", output_index=where["output_index"], item=item)
            part = {"type": "summary_text", "text": ""}
            yield self._event("response.reasoning_summary_part.added", **where, summary_index=0, part=part)

    def _close(self) -> Iterable[bytes]:
        kind, text, where = self._open, self._text.getvalue(), self._where()
        if not kind:
            return
        if kind == "text":
            self._before += len(text)
            yield self._event("response.output_text.done", **where, content_index=0, text=text, logprobs=[])
            part = _text_part(text, self._notes)
            yield self._event("response.content_part.done", **where, content_index=0, part=part)
            item = _message(where["item_id"], "completed", text, self._notes)
        elif kind == "call":
            item = self._called(text or "{}")
            yield from self._end_call(item, where)
        else:
            yield self._event("response.reasoning_summary_text.done", **where, summary_index=0, text=text)
            part = {"type": "summary_text", "text": text}
            yield self._event("response.reasoning_summary_part.done", **where, summary_index=0, part=part)
            item = _reasoning(where["item_id"], text, *self._seal)
        self._open = ""
        yield self._done(item)

    def _end_call(self, item: dict[str, Any], where: dict[str, Any]) -> Iterable[bytes]:
        if item["type"] == "function_call":
            if not self._text.tell():
                yield self._event("response.function_call_arguments.delta", **where, delta="{}")
            yield self._event("response.function_call_arguments.done", **where, arguments=item["arguments"])
            return
        yield self._event("response.custom_tool_call_input.delta", **where, delta=item["input"])
        yield self._event("response.custom_tool_call_input.done", **where, input=item["input"])

    def _called(self, arguments: str) -> dict[str, Any]:
        call_id, name = self._call
        return _call_item(self._where()["item_id"], call_id, name, arguments, self._tools)

    def _done(self, item: dict[str, Any]) -> bytes:
        place = len(self._output)
        self._output.append(item)
        return self._event("response.output_item.done", output_index=place, item=item)

    def _where(self) -> dict[str, Any]:
        """Returns id and place of the item that is open."""
        place = len(self._output)
        kind = {"thought": "rs", "call": "ctc" if self._call[1] in self._tools.free_form else "fc"}.get(
            self._open, "msg"
        )
        return {"item_id": f"{kind}_{self._id.removeprefix('resp_')}_{place}", "output_index": place}

    def _event(self, kind: str, **members: Any) -> bytes:
        body = {"type": kind, "sequence_number": self._number, **members}
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(body))


def write_whole(reply: Reply, usage: ReplyUsage, model: str, created: int, tools: ToolNames) -> bytes:
    """Returns a whole reply under the caller's name of the model."""
    found = tools.reply_id or response_id(reply.id)
    output: list[dict[str, Any]] = []
    letters = 0
    last = max((place for place, part in enumerate(reply.parts) if isinstance(part, Text)), default=-1)
    for number, part in enumerate(reply.parts):
        place = f"{found.removeprefix('resp_')}_{len(output)}"
        if isinstance(part, Text):
            end = letters + len(part.text)
            here = [one for one in reply.citations if letters < one.end <= end or (number == last and one.end < 0)]
            notes = [as_annotation(one, letters) for one in here]
            output.append(_message(f"msg_{place}", "completed", part.text, notes))
            letters = end
        elif isinstance(part, Thinking):
            output.append(_reasoning(f"rs_{place}", part.text, part.signature, part.hidden))
        else:
            assert isinstance(part, Call)
            prefix = "ctc" if part.name in tools.free_form else "fc"
            output.append(_call_item(f"{prefix}_{place}", part.id, part.name, part.arguments, tools))
    if reply.refusal and not any(isinstance(part, Text) for part in reply.parts):
        output.append(_message(f"msg_{found.removeprefix('resp_')}_{len(output)}", "completed", reply.refusal))
    status, details = _status(reply.finish)
    body = begun_response(found, model, created, status) | {**tools.echo}
    return msgspec.json.encode(body | {"output": output, "incomplete_details": details, "usage": usage_of(usage)})


def response_id(found: str) -> str:
    """Returns an id of a reply or of a request as clients know those of responses."""
    if found.startswith("resp_"):
        return found
    return f"resp_{found.removeprefix('chatcmpl-').removeprefix('msg_').removeprefix('req_')}"


def _status(finish: Finished) -> tuple[str, dict[str, str] | None]:
    reason = _INCOMPLETE.get(finish.reason)
    return ("completed", None) if reason is None else ("incomplete", {"reason": reason})


def begun_response(found: str, model: str, created: int, status: str) -> dict[str, Any]:
    """Returns a response object that says nothing yet. `created` is in seconds."""
    return {
        "id": found,
        "object": "response",
        "created_at": created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": None,
    }


def _text_part(text: str, notes: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": list(notes), "logprobs": []}


def _message(item_id: str, status: str, text: str | None, notes: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    content = [] if text is None else [_text_part(text, notes)]
    return {"type": "message", "id": item_id, "status": status, "role": "assistant", "content": content}


def _reasoning(item_id: str, text: str, signature: str, hidden: str) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text}] if text else []
    item = {"type": "reasoning", "id": item_id, "summary": summary}
    return item | ({"encrypted_content": sealed(text, signature, hidden)} if signature or hidden else {})


def _call_item(item_id: str, call_id: str, name: str, arguments: str, tools: ToolNames) -> dict[str, Any]:
    item: dict[str, Any] = {"id": item_id, "call_id": call_id, "name": name, "status": "completed"}
    if name in tools.free_form:
        given = object_of(arguments)
        return {"type": "custom_tool_call", **item, "input": str(given.get("input", arguments))}
    if name in tools.spaces:
        item["namespace"], item["name"] = tools.spaces[name]
    return {"type": "function_call", **item, "arguments": arguments}
