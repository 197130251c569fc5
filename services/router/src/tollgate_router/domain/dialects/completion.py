"""Legacy completions at models that only chat: the prompt is what a user says, the answer is the text.

What a chat cannot do with a prompt is refused by its name: to complete several, to stand around a suffix, to repeat it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.members import Lost, Penalty, Share, Temperature, Whole, check, read
from tollgate_router.domain.dialects.neutral import (
    Began,
    Event,
    Finished,
    Message,
    RefusalDelta,
    Reply,
    Request,
    Text,
    TextDelta,
)
from tollgate_router.domain.dialects.openai_reply import FINISH_WORDS, usage_of
from tollgate_router.domain.dialects.openai_request import StreamOptions
from tollgate_router.domain.usage import ReplyUsage
from tollgate_router.errors import Refused

_UNDERSTOOD: Final = frozenset(
    (
        *("model", "prompt", "max_tokens", "temperature", "top_p", "stop", "stream", "stream_options"),
        *("seed", "presence_penalty", "frequency_penalty", "user"),
    )
)
_REFUSED: Final[Mapping[str, tuple[bytes, ...]]] = {
    "n": (b"1",),
    "best_of": (b"1",),
    "echo": (b"false",),
    "suffix": (b'""',),
    # 0 asks for that of the word that was chosen.
    "logprobs": (b"false",),
}
_OTHERS: Final[Mapping[str, Any]] = {"logit_bias": dict[str, float]}


def read_completion(members: Mapping[str, msgspec.Raw], *, stream: bool, usage_wanted: bool) -> Request:
    """Returns the chat that stands for a completion. Raises Refused."""
    for name, usual in _REFUSED.items():
        raw = bytes(members.get(name, b"null"))
        if raw != b"null" and raw not in usual:
            raise Refused(f"{name} cannot be carried to the provider of this model, which only chats.", name)
    check(members, _OTHERS)
    lost: Lost = {}
    read(members, "stream_options", StreamOptions, lost)
    stop = read(members, "stop", str | list[str])
    return Request(
        messages=(Message("user", (Text(_prompt(members)),)),),
        max_output_tokens=read(members, "max_tokens", Whole),
        temperature=read(members, "temperature", Temperature),
        top_p=read(members, "top_p", Share),
        seed=read(members, "seed", Whole),
        presence_penalty=read(members, "presence_penalty", Penalty),
        frequency_penalty=read(members, "frequency_penalty", Penalty),
        stop=() if stop is None else (stop,) if isinstance(stop, str) else tuple(stop),
        user=read(members, "user", str) or "",
        stream=stream,
        usage_wanted=usage_wanted,
        lost=tuple(lost),
        extra={name: raw for name, raw in members.items() if name not in _UNDERSTOOD and name not in _REFUSED},
    )


def _prompt(members: Mapping[str, msgspec.Raw]) -> str:
    found = read(members, "prompt", str | list[str | int | list[int]])
    if isinstance(found, list) and len(found) == 1:
        (found,) = found
    if isinstance(found, str) and found:
        return found
    raise Refused("prompt: the provider of this model, which only chats, takes one text that is not empty.", "prompt")


class CompletionWriter:
    """Writes the chunks of one streamed completion. `model` is the caller's name of it, `created` in seconds."""

    def __init__(self, model: str, created: int, *, usage_wanted: bool) -> None:
        self._model = model
        self._created = created
        self._usage_wanted = usage_wanted
        self._id = ""

    def write(self, events: Iterable[Event]) -> bytes:
        """Returns the chunks that say these events; thoughts and sources have no place in a completion."""
        out: list[bytes] = []
        for event in events:
            if isinstance(event, Began):
                self._id = event.id
            elif isinstance(event, TextDelta | RefusalDelta):
                out.append(self._chunk([_choice(event.text)]))
            elif isinstance(event, Finished):
                out.append(self._chunk([_choice("", event.reason)]))
        return b"".join(out)

    def end(self, usage: ReplyUsage | None) -> bytes:
        """Returns what stands behind the last event."""
        last = b"data: [DONE]\n\n"
        if not self._usage_wanted or usage is None:
            return last
        return self._chunk([], usage=usage_of(usage)) + last

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        chunk = _head(self._id, self._model, self._created) | {"choices": choices} | more
        return b"data: %b\n\n" % msgspec.json.encode(chunk)


def write_whole(reply: Reply, usage: ReplyUsage, model: str, created: int) -> bytes:
    """Returns a whole completion under the caller's name of the model."""
    text = "".join(part.text for part in reply.parts if isinstance(part, Text)) + reply.refusal
    body = _head(reply.id, model, created)
    return msgspec.json.encode(body | {"choices": [_choice(text, reply.finish.reason)], "usage": usage_of(usage)})


def _head(reply_id: str, model: str, created: int) -> dict[str, Any]:
    plain = reply_id.removeprefix("chatcmpl-").removeprefix("msg_")
    return {"id": f"cmpl-{plain}", "object": "text_completion", "created": created, "model": model}


def _choice(text: str, reason: str | None = None) -> dict[str, Any]:
    finish = None if reason is None else FINISH_WORDS[reason]
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
