"""What the router's use cases need from outside."""

from typing import Protocol

from tollgate_router.domain.probes import ProbeRequest
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import UpstreamProblem


class ProbePort(Protocol):
    async def ask(self, target: Target, request: ProbeRequest) -> UpstreamProblem | None:
        """Asks a provider once and returns what is wrong with its answer; None when nothing is. Never raises."""
        ...
