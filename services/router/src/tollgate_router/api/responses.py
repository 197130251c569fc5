"""StoredResponsesService: what owners ask of the responses that were stored for them."""

from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.router.v1 import responses_pb2, responses_pb2_grpc
from tollgate_kit.clock import Clock
from tollgate_kit.grpc_io import abort_with
from tollgate_router.domain.background import CANCELLED, cancelled, ended, lost, shown
from tollgate_router.domain.stored import StoredResponse, page
from tollgate_router.errors import StoreUnavailable
from tollgate_router.ports import ResponseStore
from tollgate_router.use_cases.watch_background import WatchBackground

_OFF: Final = "This gateway stores no responses. Send the whole conversation as `input`, without `store`."
_UNREACHED: Final = "Stored responses cannot be reached now. Try again."
# OpenAI's own words.
_SYNCHRONOUS: Final = "Cannot cancel a synchronous response."
_MOST_ITEMS: Final = 100


T = TypeVar("T")


class StoredResponses(responses_pb2_grpc.StoredResponsesServiceServicer):
    """Without a store every call is refused. `watch` knows what runs in the background of this process."""

    def __init__(self, store: ResponseStore | None, watch: WatchBackground | None, clock: Clock) -> None:
        self._store = store
        self._watch = watch
        self._clock = clock

    async def GetResponse(  # noqa: N802 - the name is the contract's.
        self, request: responses_pb2.GetResponseRequest, context: Any
    ) -> responses_pb2.GetResponseResponse:
        """Returns the response as its caller got it; of one that runs in the background, how far it is."""
        found = await self._find(request.project_id, request.response_id, context)
        return responses_pb2.GetResponseResponse(response=shown(found))

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
        """Forgets a response, and cancels one that runs in the background."""
        store = await self._reached(context)
        if not await _asked(store.delete(request.project_id, request.response_id), context):
            await _unknown(context, request.response_id)
        self._stop(request.project_id, request.response_id)
        return responses_pb2.DeleteResponseResponse()

    async def CancelResponse(  # noqa: N802 - the name is the contract's.
        self, request: responses_pb2.CancelResponseRequest, context: Any
    ) -> responses_pb2.CancelResponseResponse:
        """Cancels a response that runs in the background; one that has ended stays as it is."""
        found = await self._find(request.project_id, request.response_id, context)
        if not found.status:
            refusal = errors.Error(kind=errors.ERROR_KIND_INVALID_REQUEST, message=_SYNCHRONOUS, param="response_id")
            await abort_with(context, refusal)
        if found.running_until_us:
            store = await self._reached(context)
            await _asked(store.finish(ended(found, CANCELLED, cancelled(found.response))), context)
            # The process that runs it may be another one, which looks by itself.
            self._stop(request.project_id, request.response_id)
            found = await self._find(request.project_id, request.response_id, context)
        return responses_pb2.CancelResponseResponse(response=shown(found))

    def _stop(self, project_id: str, response_id: str) -> None:
        if self._watch is not None:
            self._watch.stop((project_id, response_id))

    async def _find(self, project_id: str, response_id: str, context: Any) -> StoredResponse:
        store = await self._reached(context)
        now = self._clock.now_us()
        found = await _asked(store.get(project_id, response_id, now), context)
        if found is not None and (gone := lost(found, now)) is not None:
            # Written down, so that it does not come to life again once its owner was told.
            await _asked(store.finish(gone, lost_at_us=now), context)
            found = await _asked(store.get(project_id, response_id, now), context)
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


async def _asked(answer: Awaitable[T], context: Any) -> T:
    try:
        return await answer
    except StoreUnavailable:
        refusal = errors.Error(kind=errors.ERROR_KIND_UNAVAILABLE, message=_UNREACHED, retry_after_ms=1000)
        await abort_with(context, refusal)
        raise


async def _unknown(context: Any, response_id: str) -> None:
    words = f"No stored response of this project has the id '{response_id[:80]}', or its time is over."
    refusal = errors.Error(kind=errors.ERROR_KIND_NOT_FOUND, message=words, param="response_id")
    await abort_with(context, refusal)
