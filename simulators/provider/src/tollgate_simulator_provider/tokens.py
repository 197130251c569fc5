"""How the simulator counts tokens: a rule that is short enough to be worked out by hand.

- A text costs its UTF-8 bytes divided by four, rounded up; an empty one costs nothing.
- A message costs four more for its frame; a picture, sound or file in it costs 85.
- Tool and schema declarations cost what their JSON text would (no spaces, keys as they came).
- An answer costs one token for each piece it is made of, which is what a stream sends in one chunk.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

FRAME = 4
ATTACHMENT = 85


def text_tokens(text: str) -> int:
    """Returns the tokens of a text."""
    return (len(text.encode("utf-8", "surrogatepass")) + 3) // 4


def json_tokens(value: object) -> int:
    """Returns the tokens of a value's JSON text."""
    return text_tokens(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def message_text(message: Mapping[str, Any]) -> str:
    """Returns a message's text, the parts joined by line ends; what is no text is left out."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    return ""


def prompt_tokens(messages: Sequence[Mapping[str, Any]], declarations: Sequence[object] = ()) -> int:
    """Returns the tokens of a conversation and of the tools and schemas that go with it."""
    total = 0
    for message in messages:
        total += FRAME + text_tokens(message_text(message))
        content = message.get("content")
        if isinstance(content, list):
            total += ATTACHMENT * sum(1 for part in content if isinstance(part, dict) and "text" not in part)
        if message.get("tool_calls"):
            total += json_tokens(message["tool_calls"])
    return total + sum(json_tokens(declared) for declared in declarations if declared)


def input_tokens(value: object) -> int:
    """Returns the tokens of an embeddings input: a text costs at least one, token ids count as they are.

    Raises ValueError for anything but a text, a list of texts, a list of integers or a list of those.
    """
    if isinstance(value, str):
        return max(1, text_tokens(value))
    if isinstance(value, list) and value and all(type(item) is int for item in value):
        return len(value)
    if isinstance(value, list) and value and all(isinstance(item, str | list) for item in value):
        return sum(input_tokens(item) for item in value)
    raise ValueError("must be a string, an array of strings, an array of integers or an array of such arrays")


def counted(prompt: int, cached: int, **answered: int) -> dict[str, int]:
    """Returns the units of a chat: `input` without what was read from a cache, and what it answered with."""
    units = {"input": prompt - cached, "cache_read": cached, **answered}
    return {name: count for name, count in units.items() if count}
