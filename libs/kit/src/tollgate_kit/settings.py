"""Process settings: one frozen class per service, read from the environment once, in `__main__`.

A field's description is its reference; its unit is in its name. `TOLLGATE_<SERVICE>_<NAME>` sets it.
"""

import sys
from typing import TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """What every service can be told. A service derives its own class with `env_prefix="TOLLGATE_<SERVICE>_"`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    admin_address: str = Field(
        default="",
        description="Where /healthz, /readyz and /metrics are served: `host:port` or `unix:PATH`; empty serves none.",
    )
    log_level: str = Field(default="info", description="debug, info, warning or error.")
    log_format: str = Field(default="text", description="`text` for people, `json` for collectors.")
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
        prefix = str(cls.model_config.get("env_prefix", ""))
        for item in error.errors():
            name = prefix + "_".join(str(part) for part in item["loc"]).upper()
            sys.stderr.write(f"{name}: {item['msg']} (found: {item.get('input')!r})\n")
        sys.exit(2)
