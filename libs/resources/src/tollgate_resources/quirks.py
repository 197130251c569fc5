"""In what a provider differs from the wire that it says it speaks: data, so that another vendor needs no code.

A provider lists its quirks by where they were read; `combine` makes one of them.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, JsonValue, WithJsonSchema, model_validator

from tollgate_resources.models import Flag, PositiveInt, Resource

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
_STEP: Final = rf"{_NAME}(\[0\]|\[\])?"


def _like(pattern: str, words: str) -> tuple[AfterValidator, WithJsonSchema]:
    """Returns what checks a text, and says in `words` what is allowed."""
    expression = re.compile(pattern)

    def check(value: str) -> str:
        if expression.fullmatch(value) is None:
            raise ValueError(words)
        return value

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


Member = Annotated[str, *_like(_NAME, "the name of a member: letters, digits, '_' and '-', at most 64")]
Place = Annotated[
    str, *_like(rf"{_STEP}(\.{_STEP})*", "a place such as usage, x_groq.usage, choices[0].usage or a[].b")
]
"""Where a value is in a JSON object: names with points between them; [0] is the first of a list, [] all of it."""
OperationPath = Annotated[str, *_like(r"/[A-Za-z0-9._~/-]+", "a path below `base_url` such as /chat/completions")]
QueryText = Annotated[str, *_like(r"[A-Za-z0-9._~-]{1,200}", "letters, digits, '.', '_', '~' and '-', at most 200")]
Words = Annotated[str, Field(min_length=3, max_length=200)]
Evidence = Literal["page", "quoted", "known", ""]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]
ErrorMeaning = Literal[
    "rate_limit", "quota", "auth", "overloaded", "context_length", "content_policy", "invalid_parameter",
    "model_not_found", "too_large", "timeout",
]  # fmt: skip

# Without these a request is none.
_ESSENTIAL: Final = frozenset({"model", "messages", "input", "stream"})


class RequestQuirks(Resource):
    """What is changed in the members of a request before it is sent."""

    rename: dict[Member, Member] = Field(default={})
    """The caller's name → the provider's. What already has the provider's name stays as it is."""
    drop: tuple[Member, ...] = ()
    """Left out and named in `x-tollgate-dropped`: what only steers the answer."""
    refuse: tuple[Member, ...] = ()
    """400 that names it: what would make the answer one of another form than the caller waits for."""
    accept: dict[Member, tuple[JsonValue, ...]] = Field(default={})
    """The only values that are sent; others are refused. Of an object its `type` is compared."""
    values: dict[Member, dict[str, JsonValue]] = Field(default={})
    """Words that are said otherwise here: member → the caller's word → what is sent."""
    always: dict[Member, JsonValue] = Field(default={})
    """Sent with every chat, whatever the caller says."""
    default: dict[Member, JsonValue] = Field(default={})
    """Sent with every chat whose caller says nothing of it."""
    drop_in_messages: tuple[Member, ...] = ()
    """Members of messages that are left out; named as `messages.NAME`."""
    developer_role: Literal["developer", "system"] | None = None
    """What a message of the developer is called; `system` where the provider knows no other."""
    extra_content: Flag | None = None
    """True: calls come with `extra_content`, such as Gemini's signature, and are taken back with it."""
    returns_reasoning: Literal["strict", "lenient", "welcome"] | None = None
    """Thoughts of earlier turns are sent back as `reasoning_content`. `strict`: with tools every turn of the model
    needs them, else `thinking` is switched off; `lenient`: turns with calls need them, or a dot; `welcome`: where
    known."""
    reasoning_pieces: dict[Member, dict[Member, JsonValue]] = Field(default={})
    """Thoughts that are sent back are a list of this name in place of `reasoning_content`: one piece, whose `text` they
    are, with these members beside it."""
    thinking_switch: Flag | None = None
    """True: `thinking: {type: disabled}` is what `reasoning_effort: none` is elsewhere."""
    stream_options: Flag | None = None
    """False: the provider refuses `stream_options` and reports the usage of a stream unasked."""

    @model_validator(mode="after")
    def _can_be(self) -> "RequestQuirks":
        for field in ("rename", "drop", "refuse"):
            for name in _ESSENTIAL.intersection(getattr(self, field)):
                raise ValueError(f"another member than {name} in `{field}`; without it a request is none")
        return self


class ReplyQuirks(Resource):
    """Where things are in a reply. What is found is put where OpenAI's wire has it."""

    reasoning: tuple[Place, ...] = ()
    """Where the model's thoughts are within a delta or message, first found first; next to `reasoning_content`."""
    usage: tuple[Place, ...] = ()
    """Where else the usage is within a chunk or reply, such as x_groq.usage."""
    finish_reasons: dict[Annotated[str, Field(min_length=1, max_length=64)], FinishReason] = Field(default={})
    """Words of the provider → those of the wire; `error` makes an error of the reply."""


class ErrorPlaces(Resource):
    """Where an error is in a body that is not `{"error": {"message", "type", "param", "code"}}`."""

    at: tuple[Place, ...] = ()
    """The objects that may be an error, first found first; the body itself when none is."""
    message: tuple[Place, ...] = ()
    code: tuple[Place, ...] = ()
    param: tuple[Place, ...] = ()
    fine: tuple[JsonValue, ...] = ()
    """Values of `code` that say that all is well, for providers that send the object with every reply."""


class ErrorRule(Resource):
    """What an error means. Every condition that is named must hold; the first rule that fits decides."""

    means: ErrorMeaning
    status: tuple[Annotated[int, Field(strict=True, ge=200, le=599)], ...] = ()
    code: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()
    """Values of `code` or `type`, without regard to case."""
    words: tuple[Words, ...] = ()
    """Pieces of the message, without regard to case. `{param}` stands for the name of the parameter at fault."""

    @model_validator(mode="after")
    def _has_a_condition(self) -> "ErrorRule":
        if not (self.status or self.code or self.words):
            raise ValueError("one or more of status, code and words")
        return self


class Quirks(Resource):
    """Everything in which a provider differs."""

    paths: dict[Member, OperationPath] = Field(default={})
    """Operation, but for images → its path below `base_url`, where that is not OpenAI's."""
    query: dict[Member, QueryText] = Field(default={})
    """Sent with every request but those for images."""
    request: RequestQuirks = RequestQuirks()
    """Of chats and embeddings."""
    responses: RequestQuirks = RequestQuirks()
    """Of bodies of the Responses API that are passed on: the fields of `request`, by the names that this API has, with
    `input` in the place of messages. What a vendor says of its chat says nothing of it, so that nothing is shared."""
    tools_by_responses: tuple[Annotated[str, Field(min_length=3, max_length=64)], ...] = ()
    """What the names of models begin with that refuse to think in a chat with tools. Where the provider speaks the
    Responses API, such chats of other dialects go by it."""
    searching: tuple[Annotated[str, Field(min_length=3, max_length=64)], ...] = ()
    """Pieces of the names of models that search the web for every answer to a chat: a search is charged for each,
    though no reply reports one."""
    searches: dict[Annotated[str, Field(min_length=3, max_length=64)], PositiveInt] = Field(default={})
    """Pieces of the names of models that search the web for every answer to a chat and report it → how many searches
    are held for; of several that fit the greatest."""
    reply: ReplyQuirks = ReplyQuirks()
    error: ErrorPlaces = ErrorPlaces()
    errors: tuple[ErrorRule, ...] = ()

    def searches_of(self, model: str) -> int:
        """Returns how many searches are held for when a chat goes to this model of the provider, asked for or not."""
        most = [count for piece, count in self.searches.items() if piece in model]
        return max(most, default=int(any(piece in model for piece in self.searching)))

    @model_validator(mode="after")
    def _keeps_nothing(self) -> "Quirks":
        for field in ("rename", "drop", "refuse", "accept", "values", "always", "default"):
            # Without it the vendor keeps what all callers of an account say.
            if "store" in getattr(self.responses, field):
                raise ValueError(f"another member than store in `responses.{field}`; it is always sent, as false")
        return self


class Quirk(Quirks):
    """Some of the ways in which a provider differs, and where they were read."""

    source: Annotated[str, Field(pattern=r"^https?://[^ ]+$")] | None = None
    """The vendor's page, or the issue."""
    checked: str = ""
    """The day on which it was read, as 2026-11-29; the provider's own day when left out."""
    evidence: Evidence = ""
    """`page`: a copy of that page; `quoted`: documentation of others that quotes it; `known`: not read, but said to be
    there."""

    @property
    def is_of_errors(self) -> bool:
        """It says nothing of requests and good replies."""
        asking = self.request == self.responses == RequestQuirks()
        return asking and self.reply == ReplyQuirks() and not (self.paths or self.query)


class ConflictingQuirks(ValueError):  # noqa: N818 - a fault of data.
    """Two quirks of one provider say different things of one field."""


def combine(quirks: Iterable[Quirk]) -> Quirks:
    """Returns several quirks as one: lists one behind the other, mappings together. Raises ConflictingQuirks."""
    found: dict[str, Any] = {}
    for quirk in quirks:
        _add(found, quirk.model_dump(exclude_unset=True, exclude={"source", "checked", "evidence"}), "")
    return Quirks.model_validate(found)


def _add(found: dict[str, Any], more: dict[str, Any], path: str) -> None:
    for name, value in more.items():
        here = f"{path}{name}"
        before = found.get(name)
        if before is None:
            found[name] = value
        elif isinstance(before, dict) and isinstance(value, dict):
            _add(before, value, f"{here}.")
        elif isinstance(before, tuple) and isinstance(value, tuple):
            found[name] = (*before, *value)
        elif before != value:
            raise ConflictingQuirks(f"one value of {here}; two quirks of this provider say different ones")
