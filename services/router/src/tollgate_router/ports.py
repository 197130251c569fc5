"""What the router's use cases need from outside."""

from typing import Protocol

from tollgate_router.domain.probes import ProbeRequest
from tollgate_router.domain.target import Target
from tollgate_router.domain.tokens import Token
from tollgate_router.domain.upstream_errors import UpstreamProblem


class TokenPort(Protocol):
    async def fetch(self, target: Target, form: bytes) -> Token | str:
        """Asks a token server and returns a token, or why there is none, in words for operators. Never raises."""
        ...


class ProbePort(Protocol):
    async def ask(self, target: Target, request: ProbeRequest) -> UpstreamProblem | None:
        """Asks a provider once and returns what is wrong with its answer; None when nothing is. Never raises."""
        ...
