"""What the table of errors is made of."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


class Retry(enum.Enum):
    """Whether the same request may be sent again. Each is also said on the page of errors, by its value."""

    NEVER = "never"
    """Not before somebody does something; SDKs are told so by `x-should-retry: false`."""
    CHANGED = "changed"
    """Not as it is; SDKs do not repeat these statuses by themselves."""
    LATER = "later"
    """Yes, after `retry-after` where it is there, else with growing pauses, as SDKs do by themselves."""


@dataclass(frozen=True, slots=True)
class Text:
    """The same words in English and Chinese."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An error. `kind` is a tollgate.errors.v1.ErrorKind, of which the first entry is what it is by default.

    `type` is OpenAI's, `anthropic` Anthropic's and `gemini` Google's word for it; `also` are codes of providers that
    are passed on because clients know them, and mean this.
    """

    kind: int
    code: str
    status: int
    type: str
    anthropic: str
    gemini: str
    retry: Retry
    message: str
    means: Text
    do: Text
    also: tuple[str, ...] = ()
    anthropic_status: int = 0
    """The status in Anthropic's dialect, where that is another."""
    hide: bool = False
    """What was said inside is never shown."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of every reply with this error, names in lower case."""
        return _NO_RETRY if self.retry is Retry.NEVER else _NO_HEADERS


_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_NO_RETRY: Final[Mapping[str, str]] = MappingProxyType({"x-should-retry": "false"})

# Words for `type` that several have.
INVALID: Final = "invalid_request_error"
UPSTREAM: Final = "upstream_error"
SERVER: Final = "server_error"
LIMIT: Final = "rate_limit_error"
