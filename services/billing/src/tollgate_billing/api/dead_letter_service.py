"""DeadLetterService over gRPC: decode, ask one use case, encode."""

from typing import Any, Final

from grpc import aio

from tollgate.billing.v1 import dead_letters_pb2 as wire
from tollgate.billing.v1 import dead_letters_pb2_grpc
from tollgate_billing.api.ledger_service import answered
from tollgate_billing.use_cases.replay_letters import MOST_LETTERS, SENT, UNUSABLE, Inspected, ReplayLetters, readable

_DEFAULT_LETTERS: Final = 20
Context = aio.ServicerContext[Any, Any]


class DeadLetterService(dead_letters_pb2_grpc.DeadLetterServiceServicer):
    """Errors leave as typed kinds; UNAVAILABLE while something behind billing is away."""

    def __init__(self, letters: ReplayLetters) -> None:
        self._letters = letters

    async def ListDeadLetters(  # noqa: N802
        self, request: wire.ListDeadLettersRequest, context: Context
    ) -> wire.ListDeadLettersResponse:
        limit = min(request.limit or _DEFAULT_LETTERS, MOST_LETTERS)
        found, following = await answered(context, self._letters.page(limit, request.cursor))
        return wire.ListDeadLettersResponse(letters=map(_letter, found), next_cursor=following)

    async def GetDeadLetter(self, request: wire.GetDeadLetterRequest, context: Context) -> wire.GetDeadLetterResponse:  # noqa: N802
        found = await answered(context, self._letters.show(request.id))
        letter = found.letter
        return wire.GetDeadLetterResponse(
            letter=_letter(found), key=letter.key, value=letter.value, event_json=readable(letter.value)
        )

    async def ReplayDeadLetters(  # noqa: N802
        self, request: wire.ReplayDeadLettersRequest, context: Context
    ) -> wire.ReplayDeadLettersResponse:
        work = self._letters.replay_all() if request.all else self._letters.replay(request.ids)
        found, counts = await answered(context, work)
        return wire.ReplayDeadLettersResponse(letters=map(_letter, found), sent=counts[SENT], unusable=counts[UNUSABLE])


def _letter(found: Inspected) -> wire.DeadLetter:
    letter, message = found.letter, found.message
    return wire.DeadLetter(
        id=found.id,
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        logged_at_us=letter.at_us,
        reason=letter.reason,
        state=found.state,
        problem=found.problem,
        request_id=message.request_id if message is not None else "",
        organization_id=message.tenant.organization_id if message is not None else "",
        size_bytes=len(letter.value),
    )
