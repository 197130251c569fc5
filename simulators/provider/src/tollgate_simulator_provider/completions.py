"""Legacy completions: from a request to the bytes of its reply or of the chunks of its stream. No I/O."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tollgate_simulator_provider import answers
from tollgate_simulator_provider.faults import Faults
from tollgate_simulator_provider.refusals import Refused
from tollgate_simulator_provider.tokens import input_tokens

MOST_CHOICES = 8
USUAL_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Reply:
    """All that is to be said to one request; `unseen` are tokens of answers that `best_of` left out."""

    id: str
    created: int
    model: str
    choices: tuple[answers.Choice, ...]
    echoed: tuple[str, ...]
    prompt: int
    unseen: int
    faults: Faults
    include_usage: bool

    @property
    def units(self) -> dict[str, int]:
        """What was counted."""
        return {"input": self.prompt, "output": sum(len(choice.pieces) for choice in self.choices) + self.unseen}

    def usage(self) -> dict[str, Any] | None:
        """Returns the usage object to send, which a fault may have made wrong; None: not to be sent."""
        into, out = self.units["input"], self.units["output"]
        usage = {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out}
        return self.faults.told(usage, "completion_tokens")

    def body(self) -> bytes:
        """Returns the reply that is no stream."""
        choices = [
            {"text": self.echoed[index] + choice.text, "index": index, "logprobs": None, "finish_reason": choice.finish}
            for index, choice in enumerate(self.choices)
        ]
        reply = {**self._head(), "choices": choices, "usage": self.usage()}
        if reply["usage"] is None:
            del reply["usage"]
        return json.dumps(reply).encode()

    def frames(self) -> Iterator[bytes]:
        """Yields the chunks of the stream with their framing, the last one being [DONE]."""
        for index, choice in enumerate(self.choices):
            for piece in ([self.echoed[index]] if self.echoed[index] else []) + list(choice.pieces):
                yield self._chunk([{"text": piece, "index": index, "logprobs": None, "finish_reason": None}])
            yield self._chunk([{"text": "", "index": index, "logprobs": None, "finish_reason": choice.finish}])
        if self.include_usage and (usage := self.usage()) is not None:
            yield self._chunk([], usage)
        if not self.faults.no_done:
            yield b"data: [DONE]\n\n"

    def _chunk(self, choices: list[dict[str, Any]], usage: object = None) -> bytes:
        chunk = {**self._head(), "choices": choices}
        if self.include_usage:
            chunk["usage"] = usage
        return b"data: %b\n\n" % json.dumps(chunk, separators=(",", ":")).encode()

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}


def check(request: Mapping[str, Any]) -> None:
    """Raises Refused for a request that the real wire would not take."""
    try:
        input_tokens(request.get("prompt", ""))
    except ValueError as error:
        raise Refused(400, f"Invalid 'prompt': {error}.", param="prompt") from error
    count, best = request.get("n") or 1, request.get("best_of") or 1
    if not 1 <= count <= MOST_CHOICES or not 1 <= best <= MOST_CHOICES or ("best_of" in request and best < count):
        raise Refused(400, "Invalid 'n' or 'best_of'.", param="n")


def build(request: Mapping[str, Any], faults: Faults, reply_id: str, created: int) -> Reply:
    """Returns the reply to a request that `check` let through."""
    prompt = request.get("prompt", "")
    prompts = prompt if isinstance(prompt, list) and not isinstance(prompt[0], int) else [prompt]
    stop = request.get("stop") or ()
    limit = request.get("max_tokens")
    count, best = request.get("n") or 1, request.get("best_of") or 0
    choices, echoed, unseen = [], [], 0
    for one in prompts:
        text = one if isinstance(one, str) else repr(one)
        messages = [{"role": "user", "content": text}]
        question = answers.Question(
            messages=messages,
            seed=answers.seed_of(request["model"], messages),
            prompt=text,
            limit=USUAL_TOKENS if limit is None else limit,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            tool=None,
            schema=None,
        )
        made = [answers.choice(question, index, faults) for index in range(max(count, best))]
        choices += made[:count]
        unseen += sum(len(choice.pieces) for choice in made[count:])
        echoed += [text if request.get("echo") else ""] * count
    return Reply(
        id=reply_id.replace("chatcmpl", "cmpl"),
        created=created,
        model=request["model"],
        choices=tuple(choices),
        echoed=tuple(echoed),
        prompt=input_tokens(prompt),
        unseen=unseen,
        faults=faults,
        include_usage=bool((request.get("stream_options") or {}).get("include_usage")),
    )
