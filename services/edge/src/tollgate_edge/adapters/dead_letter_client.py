"""Billing's dead letters over gRPC; failures come out as public errors."""

from typing import Final

from tollgate.billing.v1 import dead_letters_pb2 as letters
from tollgate.billing.v1 import dead_letters_pb2_grpc
from tollgate_edge.adapters.grpc_clients import answer
from tollgate_kit.grpc_io import new_channel

_CALL_SECONDS: Final = 30.0
# Whatever was ever set aside is looked at.
_REPLAY_SECONDS: Final = 300.0


class DeadLetterClient:
    def __init__(self, address: str) -> None:
        self._channel = new_channel(address)
        self._stub = dead_letters_pb2_grpc.DeadLetterServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def dead_letters(self, request: letters.ListDeadLettersRequest) -> letters.ListDeadLettersResponse:
        return await answer(self._stub.ListDeadLetters(request, timeout=_CALL_SECONDS))

    async def dead_letter(self, request: letters.GetDeadLetterRequest) -> letters.GetDeadLetterResponse:
        return await answer(self._stub.GetDeadLetter(request, timeout=_CALL_SECONDS))

    async def replay(self, request: letters.ReplayDeadLettersRequest) -> letters.ReplayDeadLettersResponse:
        return await answer(self._stub.ReplayDeadLetters(request, timeout=_REPLAY_SECONDS))
