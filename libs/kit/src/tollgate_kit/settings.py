"""Process settings: one frozen class per service, read from the environment once, in `__main__`.

A field's description is its reference; its unit is in its name. `TOLLGATE_<SERVICE>_<NAME>` sets it; an empty variable
is as one that is not set. What may hold a password is a SecretStr, which nothing prints.
"""

import re
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_PORT: Final = r"(?:\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
_HOST: Final = r"(?:[\w.-]+|\[[\da-fA-F:.]+\])"
HOST_PORT: Final = rf"{_HOST}(?::{_PORT})?"
_PASSWORD: Final = re.compile("//.*@", re.DOTALL)


def matching(pattern: str, expected: str) -> AfterValidator:
    """Returns a validator for text or secrets that match the whole of `pattern`; others are told what is `expected`."""

    def check(value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _with_driver(value: str) -> str:
    # What providers of databases hand out names no driver.
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", value)


Address = Annotated[str, matching(rf"unix:.+|(dns:///)?{_HOST}:{_PORT}", "`host:port` or `unix:PATH`")]
Addresses = Annotated[tuple[Address, ...], NoDecode, BeforeValidator(_parts), Field(min_length=1)]
HttpUrl = Annotated[str, matching(rf"https?://{HOST_PORT}(/\S*)?", "an http:// or https:// address")]
SqlUrl = Annotated[
    SecretStr,
    BeforeValidator(_with_driver),
    matching(
        rf"sqlite:///.+|postgresql\+psycopg://(.*@)?({HOST_PORT})?([/?].*)?",
        "`sqlite:////PATH` or `postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE`",
    ),
]
RedisUrl = Annotated[
    SecretStr,
    matching(
        rf"unix:///.+|rediss?://(.*@)?{HOST_PORT}(/\d*)?", "`unix:///PATH` or `redis[s]://[:PASSWORD@]HOST:PORT/0`"
    ),
]
EventLogUrl = Annotated[
    str,
    matching(
        rf"sqlite:///+[^/].*|kafka://{HOST_PORT}(,{HOST_PORT})*"
        r"(\?(partitions|session_seconds)=[1-9]\d*(&session_seconds=[1-9]\d*)?)?",
        "`sqlite:///PATH` or `kafka://HOST:PORT[,HOST:PORT]`",
    ),
]


class ServiceSettings(BaseSettings):
    """What every service can be told. A service derives its own class with `env_prefix="TOLLGATE_<SERVICE>_"`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True, validate_default=False
    )

    admin_address: Address = Field(
        default="",
        description="Where /healthz, /readyz and /metrics are served: `host:port` or `unix:PATH`; empty serves none.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)] = Field(
        default="info", description="debug, info, warning or error."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="`text` for people, `json` for collectors.")
    slot: int = Field(default=0, ge=0, description="Number of this process among the workers of its service.")
    supervisor_fd: int = Field(
        default=-1,
        description="Descriptor of a pipe whose other end the supervisor holds; the process drains when it closes.",
    )
    drain_seconds: float = Field(default=20.0, ge=0, description="How long open work may go on after a stop signal.")


S = TypeVar("S", bound=BaseSettings)


def load_settings(cls: type[S]) -> S:
    """Returns the settings from the environment, or prints each error by its variable name and exits with code 2."""
    try:
        return cls()
    except ValidationError as error:
        for item in error.errors():
            sys.stderr.write(_line(cls, item))
        sys.exit(2)


def _line(cls: type[BaseSettings], item: Mapping[str, Any]) -> str:
    said, found = item["msg"].removeprefix("Value error, "), item["input"]
    if not item["loc"]:
        # Of several settings together, which the message names.
        return f"{said}\n"
    field = item["loc"][0]
    name = f"{cls.model_config.get('env_prefix', '')}{field}".upper()
    if not isinstance(found, str):
        # All that there is, where something is missing.
        return f"{name}: {said}\n"
    secret = cls.model_fields[field].annotation is SecretStr
    return f"{name}: {said} (found: {'***' if secret else repr(_PASSWORD.sub('//***@', found))})\n"
