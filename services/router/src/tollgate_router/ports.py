"""What the router's use cases need from outside."""

from collections.abc import Collection
from typing import Protocol

from tollgate_router.domain.probes import ProbeRequest
from tollgate_router.domain.stored import StoredResponse
from tollgate_router.domain.target import Target
from tollgate_router.domain.tokens import Token
from tollgate_router.domain.upstream_errors import UpstreamProblem


class TokenPort(Protocol):
    async def fetch(self, target: Target, form: bytes, hidden: str = "") -> Token | str:
        """Asks a token server and returns a token, or why there is none, in words for operators. Never raises.

        `hidden` is what the words must not hold.
        """
        ...


class ProbePort(Protocol):
    async def ask(self, target: Target, request: ProbeRequest) -> UpstreamProblem | None:
        """Asks a provider once and returns what is wrong with its answer; None when nothing is. Never raises."""
        ...


class ResponseStore(Protocol):
    """Responses kept for later turns. Every method raises StoreUnavailable."""

    async def migrate(self) -> None:
        """Brings the schema up to date."""
        ...

    async def add(self, one: StoredResponse) -> None:
        """Keeps a response; one of the same id takes the place of what a try before it left."""
        ...

    async def renew(
        self, keys: Collection[tuple[str, str]], begun: Collection[tuple[str, str]], now_us: int, until_us: int
    ) -> set[tuple[str, str]]:
        """Says that these still run, by project and id: none is lost before the middle of the time until `until_us`.

        Those `begun` are in progress from now on. Returns those that do run: the others were ended or deleted.
        """
        ...

    async def finish(self, one: StoredResponse, *, lost_at_us: int | None = None) -> str:
        """Keeps what became of a response, if it still runs; returns its status then, empty where there is none.

        With `lost_at_us` only if its process had not said by then that it goes on.
        """
        ...

    async def get(self, project_id: str, response_id: str, now_us: int) -> StoredResponse | None:
        """Returns a response of this project that has not expired; None where there is none."""
        ...

    async def chain(self, project_id: str, response_id: str, now_us: int) -> list[StoredResponse]:
        """Returns the turns up to this response, the oldest first; none when one of them is gone."""
        ...

    async def delete(self, project_id: str, response_id: str) -> bool:
        """Forgets a response; tells whether it was there."""
        ...

    async def purge(self, now_us: int) -> int:
        """Forgets some of what has expired; returns how many responses that were."""
        ...
