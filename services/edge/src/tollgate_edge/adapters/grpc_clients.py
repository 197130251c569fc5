"""The other services over gRPC; failures come out as public errors."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from grpc import aio

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.billing.v1 import billing_pb2_grpc
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.media.v1 import media_pb2 as media
from tollgate.media.v1 import media_pb2_grpc
from tollgate.router.v1 import responses_pb2 as responses
from tollgate.router.v1 import responses_pb2_grpc, router_pb2_grpc
from tollgate.router.v1 import router_pb2 as router
from tollgate_edge.errors import from_wire, public_error
from tollgate_kit.grpc_io import error_from, new_channel

_CALL_SECONDS: Final = 15.0
_EXPORT_SECONDS: Final = 3_600.0
_COMPARE_SECONDS: Final = 170.0
_PROBE_SECONDS: Final = 2.0
# The code of a job's refusal where Redis has lost the wallet.
_NO_WALLET: Final = "no_wallet"

R = TypeVar("R")


async def answer(call: Awaitable[R]) -> R:
    """Returns the reply to a call. Raises PublicError."""
    try:
        return await call
    except aio.AioRpcError as failure:
        raise from_wire(error_from(failure)) from None


class BillingClient:
    def __init__(self, address: str) -> None:
        self._channel = new_channel(address)
        self._stub = billing_pb2_grpc.BillingServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def grant(self, request: billing.GrantRequest) -> billing.GrantResponse:
        return await answer(self._stub.Grant(request, timeout=_CALL_SECONDS))

    async def balance(self, request: billing.GetBalanceRequest) -> billing.GetBalanceResponse:
        return await answer(self._stub.GetBalance(request, timeout=_CALL_SECONDS))

    async def rebuild_wallet(self, request: billing.RebuildWalletRequest) -> billing.RebuildWalletResponse:
        return await answer(self._stub.RebuildWallet(request, timeout=_CALL_SECONDS))

    async def usage(self, request: billing.QueryUsageRequest) -> billing.QueryUsageResponse:
        return await answer(self._stub.QueryUsage(request, timeout=_CALL_SECONDS))

    async def requests(self, request: billing.ListRequestsRequest) -> billing.ListRequestsResponse:
        return await answer(self._stub.ListRequests(request, timeout=_CALL_SECONDS))

    async def evidence(self, request: billing.GetEvidenceRequest) -> billing.GetEvidenceResponse:
        return await answer(self._stub.GetEvidence(request, timeout=_CALL_SECONDS))

    async def compare_books(self, request: billing.CompareBooksRequest) -> billing.CompareBooksResponse:
        return await answer(self._stub.CompareBooks(request, timeout=_COMPARE_SECONDS))

    async def compare_provider_costs(
        self, request: billing.CompareProviderCostsRequest
    ) -> billing.CompareProviderCostsResponse:
        return await answer(self._stub.CompareProviderCosts(request, timeout=_COMPARE_SECONDS))

    async def status(self) -> billing.GetStatusResponse:
        return await answer(self._stub.GetStatus(billing.GetStatusRequest(), timeout=_CALL_SECONDS))

    async def views(self, request: billing.ListViewsRequest) -> billing.ListViewsResponse:
        return await answer(self._stub.ListViews(request, timeout=_CALL_SECONDS))

    async def view(self, request: billing.QueryViewRequest) -> billing.QueryViewResponse:
        return await answer(self._stub.QueryView(request, timeout=_CALL_SECONDS))

    async def sql(self, request: billing.RunSqlRequest) -> billing.RunSqlResponse:
        return await answer(self._stub.RunSql(request, timeout=_CALL_SECONDS))

    async def export(self, request: billing.ExportUsageRequest) -> AsyncIterator[bytes]:
        replies = aiter(self._stub.ExportUsage(request, timeout=_EXPORT_SECONDS))
        try:
            first: billing.ExportUsageResponse = await anext(replies)
        except aio.AioRpcError as failure:
            raise from_wire(error_from(failure)) from None
        except StopAsyncIteration:
            raise public_error(errors.ERROR_KIND_INTERNAL) from None

        async def pieces() -> AsyncIterator[bytes]:
            yield first.data
            async for reply in replies:
                yield reply.data

        return pieces()

    async def isolation(self, request: billing.DescribeIsolationRequest) -> billing.DescribeIsolationResponse:
        return await answer(self._stub.DescribeIsolation(request, timeout=_CALL_SECONDS))


class MediaClient:
    """`on_no_wallet` is told whose wallet is missing, where a job is refused without a word of limits."""

    def __init__(self, address: str, on_no_wallet: Callable[[str], None]) -> None:
        self._on_no_wallet = on_no_wallet
        self._channel = new_channel(address)
        self._stub = media_pb2_grpc.MediaServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def create(self, request: media.CreateJobRequest) -> media.CreateJobResponse:
        try:
            reply: media.CreateJobResponse = await self._stub.CreateJob(request, timeout=_CALL_SECONDS)
        except aio.AioRpcError as failure:
            error = error_from(failure)
            if error.code == _NO_WALLET:
                self._on_no_wallet(request.tenant.organization_id)
            raise from_wire(error) from None
        return reply

    async def get(self, request: media.GetJobRequest) -> media.Job:
        reply: media.GetJobResponse = await answer(self._stub.GetJob(request, timeout=_CALL_SECONDS))
        return reply.job

    async def wait(self, request: media.WaitJobRequest) -> media.Job:
        seconds = request.timeout_ms / 1000 + _CALL_SECONDS
        reply: media.WaitJobResponse = await answer(self._stub.WaitJob(request, timeout=seconds))
        return reply.job

    async def list(self, request: media.ListJobsRequest) -> media.ListJobsResponse:
        return await answer(self._stub.ListJobs(request, timeout=_CALL_SECONDS))

    async def read_asset(self, request: media.ReadAssetRequest) -> tuple[media.Asset, AsyncIterator[bytes]]:
        replies = aiter(self._stub.ReadAsset(request))
        try:
            first: media.ReadAssetResponse = await anext(replies)
        except aio.AioRpcError as failure:
            raise from_wire(error_from(failure)) from None
        except StopAsyncIteration:
            raise public_error(errors.ERROR_KIND_INTERNAL) from None

        async def pieces() -> AsyncIterator[bytes]:
            if first.data:
                yield first.data
            async for reply in replies:
                yield reply.data

        return first.asset, pieces()


class RouterClients:
    def __init__(self, addresses: Sequence[str]) -> None:
        self._channels = {address: new_channel(address) for address in addresses}

    async def close(self) -> None:
        """Ends the connections."""
        for channel in self._channels.values():
            await channel.close()

    async def describe(self) -> Sequence[tuple[str, router.DescribeRouterResponse | None]]:
        request = router.DescribeRouterRequest()
        return await self._all(lambda stub: stub.DescribeRouter(request, timeout=_PROBE_SECONDS))

    async def explain(
        self, request: router.ExplainRouteRequest
    ) -> Sequence[tuple[str, router.ExplainRouteResponse | None]]:
        return await self._all(lambda stub: stub.ExplainRoute(request, timeout=_CALL_SECONDS))

    async def set_channel_mode(self, request: router.SetChannelModeRequest) -> Sequence[tuple[str, bool]]:
        found = await self._all(lambda stub: stub.SetChannelMode(request, timeout=_CALL_SECONDS))
        return [(address, reply is not None) for address, reply in found]

    async def response(self, project_id: str, response_id: str) -> bytes:
        request = responses.GetResponseRequest(project_id=project_id, response_id=response_id)
        reply: responses.GetResponseResponse = await self._any(
            lambda stub: stub.GetResponse(request, timeout=_CALL_SECONDS)
        )
        return reply.response

    async def input_items(self, request: responses.ListInputItemsRequest) -> bytes:
        reply: responses.ListInputItemsResponse = await self._any(
            lambda stub: stub.ListInputItems(request, timeout=_CALL_SECONDS)
        )
        return reply.page

    async def forget_response(self, project_id: str, response_id: str) -> None:
        request = responses.DeleteResponseRequest(project_id=project_id, response_id=response_id)
        await self._any(lambda stub: stub.DeleteResponse(request, timeout=_CALL_SECONDS))

    async def cancel_response(self, project_id: str, response_id: str) -> bytes:
        request = responses.CancelResponseRequest(project_id=project_id, response_id=response_id)
        reply: responses.CancelResponseResponse = await self._any(
            lambda stub: stub.CancelResponse(request, timeout=_CALL_SECONDS)
        )
        return reply.response

    async def _any(self, call: Callable[[responses_pb2_grpc.StoredResponsesServiceStub], Awaitable[R]]) -> R:
        """Asks one router after the other, since they share what is stored. Raises PublicError."""
        error = errors.Error(kind=errors.ERROR_KIND_UNAVAILABLE, retry_after_ms=1000)
        for channel in self._channels.values():
            stub = responses_pb2_grpc.StoredResponsesServiceStub(channel)  # type: ignore[no-untyped-call]
            try:
                return await call(stub)
            except aio.AioRpcError as failure:
                error = error_from(failure)
                if error.kind not in {errors.ERROR_KIND_UNAVAILABLE, errors.ERROR_KIND_INTERNAL}:
                    break
        raise from_wire(error)

    async def _all(
        self, call: Callable[[router_pb2_grpc.RouterAdminServiceStub], Awaitable[R]]
    ) -> Sequence[tuple[str, R | None]]:
        """Asks every router at once; None for one that is away. Raises PublicError for what one refuses."""

        async def ask(channel: aio.Channel) -> R | None:
            stub = router_pb2_grpc.RouterAdminServiceStub(channel)  # type: ignore[no-untyped-call]
            try:
                return await call(stub)
            except aio.AioRpcError as failure:
                error = error_from(failure)
                if error.kind in {errors.ERROR_KIND_UNAVAILABLE, errors.ERROR_KIND_INTERNAL}:
                    return None
                raise from_wire(error) from None

        found = await asyncio.gather(*(ask(channel) for channel in self._channels.values()))
        return list(zip(self._channels, found, strict=True))
