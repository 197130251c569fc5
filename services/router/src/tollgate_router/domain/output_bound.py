"""The longest answer that a request may get: its own limit, else its model's, for each choice.

Read as edge reads it, which holds money for no more.
"""

from typing import Final, TypeVar

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.openai_chat import Members

T = TypeVar("T")

# Where a body has several of them, the newest name wins.
_LIMITS: Final = ("max_output_tokens", "max_completion_tokens", "max_tokens")
_WHOLE: Final = msgspec.json.Decoder(int | None)
_INNER: Final = msgspec.json.Decoder(Members | None)
_PROMPTS: Final = msgspec.json.Decoder(list[msgspec.Raw])


def most_output(opened: wire.Open, members: Members, longest: int) -> int | None:
    """Returns how many tokens all choices of an answer may have, or None where nobody limits them.

    `longest` is what the model itself can say, in tokens; 0 where that is not known.
    """
    if opened.dialect == wire.DIALECT_GEMINI:
        config = _read(members, _INNER, "generationConfig", "generation_config") or {}
        limit = _read(config, _WHOLE, "maxOutputTokens", "max_output_tokens")
        choices = _read(config, _WHOLE, "candidateCount", "candidate_count") or 1
    else:
        limit, choices = _read(members, _WHOLE, *_LIMITS), _choices(opened, members)
    if limit is None:
        limit = longest or None
    return None if limit is None else limit * choices


def _choices(opened: wire.Open, members: Members) -> int:
    if opened.dialect == wire.DIALECT_ANTHROPIC:
        return 1
    choices = _read(members, _WHOLE, "n") or 1
    if opened.operation != wire.OPERATION_COMPLETION:
        return choices
    return max(choices, _read(members, _WHOLE, "best_of") or 1) * _prompts(members)


def _prompts(members: Members) -> int:
    prompts = _read(members, _PROMPTS, "prompt") or []
    # A list of numbers is the tokens of one.
    return len(prompts) if prompts and bytes(memoryview(prompts[0])[:1]) in {b'"', b"["} else 1


def _read(members: Members, decoder: "msgspec.json.Decoder[T]", *names: str) -> T | None:
    """Returns the first of these members that says something that can be read."""
    for name in names:
        try:
            found = decoder.decode(members[name])
        except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
            continue
        if found is not None:
            return found
    return None
