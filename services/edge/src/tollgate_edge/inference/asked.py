"""What a request asks for, as far as edge acts on it, and the words for one that asks for nonsense."""

from typing import Final

import msgspec

from tollgate_edge.domain.limits import MAX_OUTPUT_TOKENS

ABSENT: Final = msgspec.Raw(b"null")


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Asked(msgspec.Struct, frozen=True):
    """What a request asks for. `max_output_tokens` is None where the caller sets no limit, 0 for no output.

    `most_input` is the most tokens that it can be, -1 where that is a token to each byte of the body. `units` are the
    most that it can use of what is no token, and `likely` what it likely uses, where that does not follow from its
    size. `content_type` is that of a body that is no JSON.
    """

    model: str
    stream: bool
    usage_wanted: bool
    max_output_tokens: int | None
    choices: int
    most_input: int = -1
    units: tuple[tuple[str, int], ...] = ()
    likely: tuple[tuple[str, int], ...] = ()
    content_type: bytes = b""

    def input_bound(self, body_bytes: int) -> int:
        """Returns the most tokens that a body of this size can be."""
        return body_bytes if self.most_input < 0 else self.most_input


class BadRequest(Exception):  # noqa: N818 - what the caller sent, not a fault of ours.
    """The request cannot be understood; `param` names the field at fault, or is empty."""

    def __init__(self, message: str, param: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.param = param


def check_model(model: str) -> None:
    """Raises BadRequest for what cannot be the name of a model."""
    if not model or len(model) > 200:
        raise BadRequest("model must be the name of a model, 1 to 200 characters long.", "model")


def check_limit(limit: int | None, least: int, name: str, param: str = "") -> None:
    """Raises BadRequest for a limit of output tokens that nobody can mean."""
    if limit is not None and not least <= limit <= MAX_OUTPUT_TOKENS:
        raise BadRequest(f"{name} must be between {least} and {MAX_OUTPUT_TOKENS}, found {limit}.", param or name)


def beginning(value: msgspec.Raw) -> bytes:
    """Returns the first five bytes, which tell `null` and `""` from all else without a copy of a long value."""
    return bytes(memoryview(value)[:5])


def is_null(value: msgspec.Raw) -> bool:
    """Tells whether a member is `null`, or absent."""
    return len(value) == 4 and bytes(value) == b"null"
