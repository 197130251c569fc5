"""Which product a command talks to: the one of a home, or the one that the environment names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tollgate_cli.errors import UNREACHABLE, Failure
from tollgate_cli.home import home_of


@dataclass(frozen=True, slots=True)
class Target:
    """Where the product is (`url` without /v1 and final slash), and who asks it. `ready` is the home's ready file."""

    url: str
    token: str = field(repr=False)
    api_key: str = field(repr=False, default="")
    ready: Mapping[str, Any] | None = field(repr=False, default=None)


def find_target(option: Path | None, environment: Mapping[str, str]) -> Target:
    """Returns the product of `--home`, else of `TOLLGATE_URL`, else of `TOLLGATE_HOME` or the default home.

    Raises Failure (code 3) when nothing runs there, or when there is an address without a token.
    """
    url = environment.get("TOLLGATE_URL", "")
    if option is None and url:
        token = environment.get("TOLLGATE_TOKEN", "")
        if not token:
            raise Failure("TOLLGATE_URL is set, and TOLLGATE_TOKEN is not.", advice="Set it to an access token.")
        return Target(url.rstrip("/").removesuffix("/v1"), token, environment.get("TOLLGATE_API_KEY", ""))
    home = home_of(option, environment)
    ready = home.read_ready()
    if ready is None or home.running() is None:
        raise Failure(
            f"No product runs with the home {home.root}.",
            code=UNREACHABLE,
            advice="Start it with `tollgate up` (or `make up`), name another --home, or set TOLLGATE_URL "
            "and TOLLGATE_TOKEN.",
        )
    return Target(str(ready["base_url"]).removesuffix("/v1"), ready["admin_key"], ready.get("api_key") or "", ready)
