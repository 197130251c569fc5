"""Faults that a request asks for, so that a test can have a bad provider on demand, through a gateway too.

They come as `name` or `name=value`, separated by commas, from the header `x-sim-fault` or from markers like
`[[sim:cut=3]]` in the last message of the user (the prompt of an image, the input of an embedding).

    status=503          answer with this status; with code=… and retry_after=… as they are to be sent
    html                answer with an HTML page instead of JSON
    delay=2             send the head at once and the body after so many seconds
    slow-headers=3      send nothing at all for so many seconds
    drop                close the connection without any answer
    cut=5               close the connection after so many chunks (bytes, when the answer is no stream)
    stall=2             say nothing more after so many chunks (bytes), until the client goes
    hold=2              say nothing more after so many chunks (bytes), until `POST /_release` lets the reply go on
    mid-error=2         send an error object after so many chunks, and close
    malformed           send JSON that does not parse
    short-length        announce a longer body than is sent, and close
    wrong-usage         report usage that is not what was counted: more (default), missing, negative or text
    no-done             end a stream without [DONE]
    chunks=65           answer with exactly so many pieces
    gap_ms=20           wait so long before each chunk
    cached=100          report so many prompt tokens as read from a cache
    reasoning=20        think for so many tokens first
    tool                call the first tool offered
    refuse=quota        refuse as the vendor was seen to do: auth, quota, rate_limit, context_length and so on
    say=aGVsbG8         answer with this text, in base64url: what a client's script is to be told
    finish=failed       end for another reason than the answer's own, in a compatible vendor's words
"""

import base64
import re
from dataclasses import dataclass, fields
from typing import Any

MARKER = re.compile(r"\[\[sim:([^\]]*)\]\]")
LONGEST_SECONDS = 600.0


class UnknownFault(ValueError):  # noqa: N818
    """A fault was asked for that does not exist, or its value is not what it takes."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What one request asked for; counts are chunks, times are seconds, -1 means not asked for."""

    status: int = 0
    code: str = ""
    retry_after: str = ""
    html: bool = False
    delay: float = 0.0
    slow_headers: float = 0.0
    drop: bool = False
    cut: int = -1
    stall: int = -1
    hold: int = -1
    mid_error: int = -1
    malformed: bool = False
    short_length: bool = False
    wrong_usage: str = ""
    no_done: bool = False
    chunks: int = 0
    gap_ms: float = 0.0
    cached: int = 0
    reasoning: int = 0
    tool: bool = False
    refuse: str = ""
    finish: str = ""
    say: str = ""
    text: str = ""

    @property
    def paced(self) -> bool:
        """Tells whether the reply waits for anything, so that the client may leave meanwhile."""
        return bool(self.delay or self.slow_headers or self.gap_ms or self.stall >= 0 or self.hold >= 0)

    def told(self, usage: dict[str, Any], name: str) -> dict[str, Any] | None:
        """Returns the usage to send: the true one, one in which the count of this name is wrong, or none."""
        if not self.wrong_usage:
            return usage
        if self.wrong_usage == "missing":
            return None
        count = usage[name]
        return usage | {name: {"negative": -count, "text": "many"}.get(self.wrong_usage, count * 10 + 7)}


NONE = Faults()
NAMES = {one.name for one in fields(Faults)} - {"text"}


def parse(text: str) -> Faults:
    """Returns the faults that `text` names. Raises UnknownFault."""
    found: dict[str, str | int | float | bool] = {"text": text}
    for item in text.split(","):
        name, _, value = item.strip().partition("=")
        if name:
            key = name.replace("-", "_")
            found[key] = _value(name, key, value.strip())
    return Faults(**found)  # type: ignore[arg-type]  # Each value was read by its field.


def in_text(text: str) -> Faults:
    """Returns the faults named by the markers in `text`. Raises UnknownFault."""
    if "[[sim:" not in text:
        return NONE
    return parse(",".join(MARKER.findall(text)))


def without_markers(text: str) -> str:
    """Returns `text` without its markers."""
    return MARKER.sub("", text).strip() if "[[sim:" in text else text


def _value(name: str, key: str, value: str) -> str | int | float | bool:
    if key not in NAMES:
        raise UnknownFault(f"there is no fault named {name!r}")
    default = getattr(NONE, key)
    try:
        if key == "say":
            return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
        if isinstance(default, bool):
            return True
        if isinstance(default, int):
            return max(0, int(value))
        if isinstance(default, float):
            return min(LONGEST_SECONDS * (1000 if key == "gap_ms" else 1), max(0.0, float(value)))
    except ValueError:
        wanted = "a text in base64url" if key == "say" else "a number"
        raise UnknownFault(f"the fault {name!r} takes {wanted}, not {value!r}") from None
    return value or "more"
