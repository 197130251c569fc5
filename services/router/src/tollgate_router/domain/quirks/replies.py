"""Where things are in a provider's reply: a decoded chunk or whole reply is brought to the places of OpenAI's wire."""

from typing import Any, Final

from tollgate_resources import ReplyQuirks
from tollgate_router.domain.quirks.places import Place

# By either of these names a compatible server may send what its model thought.
_USUAL_REASONING: Final = ("reasoning_content", "reasoning")
_REASONING: Final = "reasoning_content"
_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


class ReplyEdit:
    """What is changed in the objects of a reply. Made once for each channel."""

    def __init__(self, quirks: ReplyQuirks) -> None:
        self._reasoning = tuple(map(Place, quirks.reasoning or _USUAL_REASONING))
        self._usage = tuple(map(Place, quirks.usage))
        self._parts = frozenset(place.name for place in self._reasoning)
        self._finish = quirks.finish_reasons
        names = (*(place.name for place in self._reasoning), *(place.name for place in self._usage))
        self.marks = tuple(f'"{name}"'.encode() for name in dict.fromkeys(names) if name not in {_REASONING, "choices"})
        """What an object shows in which something is elsewhere."""
        self.looks_into_all = any(place.name == "choices" for place in self._usage)
        """Nothing tells from outside where something is elsewhere."""

    def usage(self, found: dict[str, Any]) -> dict[str, Any] | None:
        """Takes the usage out of a chunk or reply and returns it; None where it says none."""
        usage = found.pop("usage", None)
        for place in self._usage:
            if isinstance(usage, dict):
                break
            usage = place.value(found)
        return usage if isinstance(usage, dict) else None

    def part(self, part: dict[str, Any]) -> None:
        """Puts thoughts and text of a delta or message where they belong."""
        if self._parts.isdisjoint(part) and not isinstance(part.get("content"), list):
            return
        thought = ""
        for place in self._reasoning:
            thought = thought or place.text(part)
            # Clients that know two names would show the same twice.
            if place.name != "content":
                part.pop(place.name, None)
        if thought:
            part[_REASONING] = thought
        content = part.get("content")
        if isinstance(content, list):
            texts = (piece.get("text") for piece in content if isinstance(piece, dict))
            part["content"] = "".join(text for text in texts if isinstance(text, str))

    def reason(self, said: object) -> str | None:
        """Returns why an answer ended, in the wire's words; None where it has not, `error` where it failed.

        A word that nobody knows is one for having come to an end.
        """
        if not isinstance(said, str) or not said:
            return None
        return self._finish.get(said) or (said if said in _REASONS else "stop")
