"""StoredResponsesService: what owners ask of the responses that were stored for them."""

from typing import Any, Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.router.v1 import responses_pb2, responses_pb2_grpc
from tollgate_kit.clock import Clock
from tollgate_kit.grpc_io import abort_with
from tollgate_router.domain.stored import StoredResponse, page
from tollgate_router.ports import ResponseStore, StoreUnavailable

_OFF: Final = "This gateway stores no responses. Send the whole conversation as `input`, without `store`."
_MOST_ITEMS: Final = 100


class StoredResponses(responses_pb2_grpc.StoredResponsesServiceServicer):
    """Without a store every call is refused."""

    def __init__(self, store: ResponseStore | None, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def GetResponse(  # noqa: N802 - the name is the contract's.
        self, request: responses_pb2.GetResponseRequest, context: Any
    ) -> responses_pb2.GetResponseResponse:
        """Returns the response as its caller got it."""
        found = await self._find(request.project_id, request.response_id, context)
        return responses_pb2.GetResponseResponse(response=found.response)

    async def ListInputItems(  # noqa: N802 - the name is the contract's.
        self, request: responses_pb2.ListInputItemsRequest, context: Any
    ) -> responses_pb2.ListInputItemsResponse:
        """Returns a page of the input of its turn."""
        found = await self._find(request.project_id, request.response_id, context)
        limit = min(request.limit or _MOST_ITEMS, _MOST_ITEMS)
        found_page = page(found.items, after=request.after, limit=limit, newest_first=request.newest_first)
        return responses_pb2.ListInputItemsResponse(page=found_page)

    async def DeleteResponse(  # noqa: N802 - the name is the contract's.
        self, request: responses_pb2.DeleteResponseRequest, context: Any
    ) -> responses_pb2.DeleteResponseResponse:
        """Forgets a response."""
        store = await self._reached(context)
        try:
            known = await store.delete(request.project_id, request.response_id)
        except StoreUnavailable:
            await _unavailable(context)
        else:
            if not known:
                await _unknown(context, request.response_id)
        return responses_pb2.DeleteResponseResponse()

    async def _find(self, project_id: str, response_id: str, context: Any) -> StoredResponse:
        store = await self._reached(context)
        found = None
        try:
            found = await store.get(project_id, response_id, self._clock.now_us())
        except StoreUnavailable:
            await _unavailable(context)
        if found is None:
            await _unknown(context, response_id)
        assert found is not None
        return found

    async def _reached(self, context: Any) -> ResponseStore:
        if self._store is None:
            refusal = errors.Error(
                kind=errors.ERROR_KIND_NOT_FOUND, message=_OFF, param="response_id", code="response_not_stored"
            )
            await abort_with(context, refusal)
        assert self._store is not None
        return self._store


async def _unavailable(context: Any) -> None:
    words = "Stored responses cannot be reached now. Try again."
    await abort_with(context, errors.Error(kind=errors.ERROR_KIND_UNAVAILABLE, message=words, retry_after_ms=1000))


async def _unknown(context: Any, response_id: str) -> None:
    words = f"No stored response of this project has the id '{response_id[:80]}', or its time is over."
    refusal = errors.Error(kind=errors.ERROR_KIND_NOT_FOUND, message=words, param="response_id")
    await abort_with(context, refusal)
