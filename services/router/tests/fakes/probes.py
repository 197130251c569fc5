"""A provider that answers probes as it was told to."""

import asyncio
from collections import deque

from tollgate_router.domain.failure import FailureKind, UpstreamFailure
from tollgate_router.domain.probes import ProbeRequest
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import UpstreamProblem, problem_of_failure, problem_of_reply


class FakeProbePort:
    """`answers` are statuses in turn, the last one for ever; 0 is no connection, -1 none of ours free.

    `asked` is what came.
    """

    def __init__(self, *answers: int) -> None:
        self._answers = deque(answers or (200,))
        self.asked: list[tuple[str, int, bytes, bytes, bytes]] = []
        self.first = asyncio.Event()

    async def ask(self, target: Target, request: ProbeRequest) -> UpstreamProblem | None:
        await asyncio.sleep(0)
        self.asked.append((target.channel, target.key_index, request.method, request.path, request.body))
        self.first.set()
        status = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
        if status <= 0:
            kind = FailureKind.BUSY if status else FailureKind.REFUSED
            return problem_of_failure(UpstreamFailure(kind, sent=False))
        return None if status == 200 or status in request.accepted else problem_of_reply(status, b"")
