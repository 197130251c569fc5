"""What embeddings are asked for, read from OpenAI's dialect or from Gemini's."""

from typing import Final

import msgspec

from tollgate_router.domain.openai_chat import Members
from tollgate_router.errors import Refused

_MOST_TEXTS: Final = 2048
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_ENCODER: Final = msgspec.json.Encoder()
_NULL: Final = b"null"
# Of OpenAI's dialect, what every wire has a place for, and the extension by which callers say what a text is for.
_CARRIED: Final = frozenset(("model", "input", "dimensions", "encoding_format", "input_type"))
_FORMS: Final = (None, "float", "base64")


class EmbeddedText(msgspec.Struct, frozen=True):
    """`task` is in Gemini's words, such as RETRIEVAL_QUERY."""

    text: str
    task: str = ""
    title: str = ""


class EmbeddingsAsked(msgspec.Struct, frozen=True):
    """`single`: one vector on its own, as `embedContent` has it. `packed`: as base64.

    `input_type` is in Cohere's words, and empty where the caller says nothing of the kind.
    """

    texts: tuple[EmbeddedText, ...]
    dimensions: int | None
    gemini: bool = False
    single: bool = False
    packed: bool = False
    input_type: str = ""
    dropped: tuple[str, ...] = ()

    @property
    def dimensions_name(self) -> str:
        """Returns what the caller's dialect calls the length of vectors."""
        return "outputDimensionality" if self.gemini else "dimensions"

    @property
    def texts_name(self) -> str:
        """Returns what the caller's dialect calls the texts."""
        if not self.gemini:
            return "input"
        return "content" if self.single else "requests"

    def unsaid(self, *, tasks: bool = False, titles: bool = False, input_type: bool = False) -> tuple[str, ...]:
        """Returns the names of what is left out on a wire, which has a place for what is True."""
        return (
            *(("taskType",) if not tasks and any(one.task for one in self.texts) else ()),
            *(("title",) if not titles and any(one.title for one in self.texts) else ()),
            *(("input_type",) if not input_type and self.input_type else ()),
            *self.dropped,
        )


class _Part(msgspec.Struct):
    text: str | None = None


class _Content(msgspec.Struct):
    parts: list[_Part]


class _EmbedContent(msgspec.Struct):
    """Of Gemini; its clients use both spellings."""

    content: _Content | None = None
    outputDimensionality: int | None = None  # noqa: N815 - the name on the wire.
    output_dimensionality: int | None = None
    taskType: str | None = None  # noqa: N815 - the name on the wire.
    task_type: str | None = None
    title: str | None = None


_REQUESTS: Final = msgspec.json.Decoder(list[_EmbedContent])
_TEXTS: Final = msgspec.json.Decoder(str | list[str | int | list[int]])
_COUNT: Final = msgspec.json.Decoder(int | None)
_WORD: Final[msgspec.json.Decoder[str | None]] = msgspec.json.Decoder(str | None)


def read_gemini(members: Members) -> EmbeddingsAsked:
    """Returns what `embedContent` or a batch of them asks for. Raises Refused."""
    single = "requests" not in members
    try:
        given = b"[%b]" % _ENCODER.encode(members) if single else members["requests"]
        requests = _REQUESTS.decode(given)
    except _BROKEN as error:
        name = "content" if single else "requests"
        raise Refused(f"{name} must hold contents with parts of text.", name) from error
    if not 0 < len(requests) <= _MOST_TEXTS:
        raise Refused(f"requests must hold 1 to {_MOST_TEXTS} of them.", "requests")
    sizes = {one.outputDimensionality or one.output_dimensionality for one in requests}
    if len(sizes) > 1:
        raise Refused("outputDimensionality must be the same in all requests.", "requests")
    return EmbeddingsAsked(tuple(map(_text_of, requests)), sizes.pop(), gemini=True, single=single)


def _text_of(one: _EmbedContent) -> EmbeddedText:
    parts = one.content.parts if one.content is not None else []
    if not parts or any(part.text is None for part in parts):
        raise Refused("content must have parts, and all of them text, for this model.", "content")
    text = "\n".join(part.text or "" for part in parts)
    return EmbeddedText(text, one.taskType or one.task_type or "", one.title or "")


def read_openai(members: Members) -> EmbeddingsAsked:
    """Returns what a request of OpenAI's dialect asks for. Raises Refused, for tokens as well."""
    try:
        found = _TEXTS.decode(members.get("input", _NULL))
    except _BROKEN as error:
        raise Refused("input must be a text or a list of texts.", "input") from error
    texts = (found,) if isinstance(found, str) else tuple(one for one in found if isinstance(one, str))
    if not texts or (isinstance(found, list) and len(texts) < len(found)):
        raise Refused("input must be a text or a list of texts: the provider of this model takes no tokens.", "input")
    if len(texts) > _MOST_TEXTS:
        raise Refused(f"input must hold 1 to {_MOST_TEXTS} texts.", "input")
    try:
        dimensions = _COUNT.decode(members.get("dimensions", _NULL))
    except _BROKEN as error:
        raise Refused("dimensions must be a whole number.", "dimensions") from error
    form = _word(members, "encoding_format")
    if form not in _FORMS:
        raise Refused("encoding_format must be float or base64.", "encoding_format")
    return EmbeddingsAsked(
        tuple(map(EmbeddedText, texts)),
        dimensions,
        packed=form == "base64",
        input_type=_word(members, "input_type") or "",
        dropped=tuple(name for name, raw in members.items() if name not in _CARRIED and bytes(raw) != _NULL),
    )


def _word(members: Members, name: str) -> str | None:
    try:
        return _WORD.decode(members.get(name, _NULL))
    except _BROKEN as error:
        raise Refused(f"{name} must be text.", name) from error
