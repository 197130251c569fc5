"""What a reply likely used whose provider reports nothing: what is charged is also what the caller is told."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_rating import prompt_tokens
from tollgate_router.domain.abilities import embedded_in
from tollgate_router.domain.chat_repair import RepairedStream
from tollgate_router.domain.chat_stream import DONE
from tollgate_router.domain.dialects.openai_reply import usage_of
from tollgate_router.domain.endpoints.form import Form
from tollgate_router.domain.openai_chat import Members
from tollgate_router.domain.output_bound import most_output
from tollgate_router.domain.quirks.wire import WireQuirks
from tollgate_router.domain.target import Target
from tollgate_router.domain.usage import ReplyUsage

__all__ = ["EstimatedStream", "RepairedStream", "estimate", "estimate_whole", "repaired"]

# A whole reply has its framing beside the text.
_REPLY_BYTES_PER_TOKEN: Final = 16


def estimate(opened: wire.Open, asked: Members | Form, output_tokens: int, target: Target | None = None) -> ReplyUsage:
    """A provider that reports nothing is charged by size: four bytes of a prompt to a token, a frame a token.

    A file that is embedded in it counts as edge's count of tokens has it, where its size would be more. However large
    a reply is, of pictures or of each token's odds, it has no more output than was asked for, or `target` can say.
    """
    files = [] if isinstance(asked, Form) else embedded_in(asked)
    units = {"input": prompt_tokens(opened.body_length, files)}
    if opened.operation != wire.OPERATION_EMBEDDINGS:
        longest = 0 if target is None else target.max_output_tokens
        most = None if isinstance(asked, Form) else most_output(opened, asked, longest)
        units["output"] = output_tokens if most is None else min(output_tokens, most)
    return ReplyUsage(units, estimated=True)


def estimate_whole(opened: wire.Open, asked: Members | Form, size: int, target: Target | None = None) -> ReplyUsage:
    """Estimates what a whole reply of so many bytes used, or one of which so many have come."""
    return estimate(opened, asked, size // _REPLY_BYTES_PER_TOKEN, target)


def repaired(target: Target, given: dict[str, Any], opened: wire.Open, members: Members | None) -> RepairedStream:
    """Returns what mends a stream. `members`: the caller of this body asked for the usage; None: nobody reads it."""
    if members is None:
        return RepairedStream(target.quirks, given, usage_wanted=False)
    return EstimatedStream(target.quirks, given, partial(estimate, opened, members, target=target))


class EstimatedStream(RepairedStream):
    """A mended stream whose caller waits for the usage, and gets it from a provider that reports none, too."""

    __slots__ = ("_estimate", "_told")

    def __init__(self, quirks: WireQuirks, given: dict[str, Any], estimate: Callable[[int], ReplyUsage]) -> None:
        super().__init__(quirks, given, usage_wanted=True)
        self._estimate = estimate
        self._told = False

    def finish(self) -> bytes:
        """The upstream has ended: returns what was held back, and what a stream ends with."""
        return self._with_usage(super().finish())

    def _pass(self, ready: bytes) -> bytes:
        return self._with_usage(super()._pass(ready))

    def _with_usage(self, ready: bytes) -> bytes:
        if not self.done or self._told or not ready.endswith(DONE):
            return ready
        self._told = True
        if self._last_usage is not None:
            return ready
        self.usage = self._estimate(self.frames)
        last = {**self._head, "choices": [], "usage": usage_of(self.usage)}
        return b"%bdata: %b\n\n%b" % (ready.removesuffix(DONE), msgspec.json.encode(last), DONE)
