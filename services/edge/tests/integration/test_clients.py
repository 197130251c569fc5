"""Billing, media-jobs and the routers as edge sees them: one suite for the fakes, and for the clients over gRPC."""

import contextlib
import tempfile
from pathlib import Path

import pytest
from services.edge.tests.fakes.served import servicer, stream, unary
from services.edge.tests.fakes.services import FakeBilling, FakeMedia, FakeRouters

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.billing.v1 import billing_pb2_grpc
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.media.v1 import media_pb2 as media
from tollgate.media.v1 import media_pb2_grpc
from tollgate.router.v1 import router_pb2 as router
from tollgate.router.v1 import router_pb2_grpc
from tollgate_edge.adapters.grpc_clients import BillingClient, MediaClient, RouterClients
from tollgate_edge.errors import PublicError, public_error
from tollgate_kit.grpc_io import abort_with, new_server

pytestmark = pytest.mark.integration


@pytest.fixture
def sockets():
    with tempfile.TemporaryDirectory(prefix="tge-") as directory:
        yield Path(directory)


@contextlib.asynccontextmanager
async def serving(address, add, served):
    server = new_server(address)
    add(served, server)
    await server.start()
    yield
    await server.stop(0)


class Ported:
    """A port, and the fake that stands for what is behind it."""

    def __init__(self, port, fake):
        self.port, self.fake = port, fake


# Billing.


def billing_servicer(fake):
    async def exported(request):
        async for piece in await fake.export(request):
            yield billing.ExportUsageResponse(data=piece)

    return servicer(
        billing_pb2_grpc.BillingServiceServicer,
        Grant=unary(fake.grant),
        GetBalance=unary(fake.balance),
        RebuildWallet=unary(fake.rebuild_wallet),
        QueryUsage=unary(fake.usage),
        ListRequests=unary(fake.requests),
        GetEvidence=unary(fake.evidence),
        CompareBooks=unary(fake.compare_books),
        CompareProviderCosts=unary(fake.compare_provider_costs),
        GetStatus=unary(lambda _: fake.status()),
        ListViews=unary(fake.views),
        QueryView=unary(fake.view),
        RunSql=unary(fake.sql),
        ExportUsage=stream(exported),
        DescribeIsolation=unary(fake.isolation),
    )


@pytest.fixture(params=["fake", "grpc"])
async def books(request, sockets):
    fake = FakeBilling()
    if request.param == "fake":
        yield Ported(fake, fake)
        return
    address = f"unix:{sockets}/billing.sock"
    async with serving(address, billing_pb2_grpc.add_BillingServiceServicer_to_server, billing_servicer(fake)):
        client = BillingClient(address)
        yield Ported(client, fake)
        await client.close()


async def test_a_grant_counts_once_per_key_and_is_in_the_balance(books):
    grant = billing.GrantRequest(organization_id="org_1", amount_pico=5, idempotency_key="first")
    assert [(await books.port.grant(grant)).balance_pico for _ in range(2)] == [5, 5]
    other = billing.GrantRequest(organization_id="org_2", amount_pico=7, idempotency_key="other")
    assert (await books.port.grant(other)).balance_pico == 7
    found = await books.port.balance(billing.GetBalanceRequest(organization_id="org_1"))
    assert (found.ledger_pico, found.wallet_pico) == (5, 5)


async def test_questions_are_passed_on_and_answered(books):
    fake, port = books.fake, books.port
    fake.usage_reply = billing.QueryUsageResponse(rows=[billing.UsageRow(requests=3)])
    asked = billing.QueryUsageRequest(group_by=["model"])
    assert await port.usage(asked) == fake.usage_reply
    assert fake.asked[-1] == asked
    fake.requests_reply = billing.ListRequestsResponse(rows=[billing.RequestRow(request_id="req_1")])
    assert await port.requests(billing.ListRequestsRequest(limit=1)) == fake.requests_reply
    assert await port.compare_books(billing.CompareBooksRequest()) == fake.books_reply
    assert await port.compare_provider_costs(billing.CompareProviderCostsRequest()) == fake.costs_reply
    assert await port.view(billing.QueryViewRequest(name="x")) == fake.view_reply
    assert await port.sql(billing.RunSqlRequest(sql="SELECT 1")) == fake.sql_reply
    assert (await port.isolation(billing.DescribeIsolationRequest())).statements == ["CREATE ROLE x"]
    assert (await port.status()).rows == 2**40
    assert (await port.rebuild_wallet(billing.RebuildWalletRequest())).changed
    assert await port.views(billing.ListViewsRequest(operator=True)) == await fake.views(billing.ListViewsRequest())


async def test_nothing_is_known_of_a_request_that_is_not_there_or_not_ones_own(books):
    mine = billing.GetEvidenceResponse(rows=[billing.RequestRow(request_id="req_1", organization_id="org_1")])
    books.fake.evidences["req_1"] = mine
    for request_id, organization, expected in (
        ("req_1", "", mine),
        ("req_1", "org_1", mine),
        ("req_1", "org_2", billing.GetEvidenceResponse()),
        ("req_2", "", billing.GetEvidenceResponse()),
    ):
        asked = billing.GetEvidenceRequest(request_id=request_id, organization_id=organization)
        assert await books.port.evidence(asked) == expected


async def test_an_export_comes_in_pieces(books):
    books.fake.pieces = [b"PAR1", b"\x00" * 100_000, b"PAR1"]
    pieces = await books.port.export(billing.ExportUsageRequest())
    assert [piece async for piece in pieces] == books.fake.pieces


async def test_billing_that_is_away_is_said_to_be_so(books):
    for call in (
        lambda: books.port.usage(billing.QueryUsageRequest()),
        lambda: books.port.export(billing.ExportUsageRequest()),
        books.port.status,
    ):
        books.fake.away = 1
        with pytest.raises(PublicError) as raised:
            await call()
        assert (raised.value.status, raised.value.code) == (503, "service_unavailable")


# media-jobs.


def media_servicer(fake):
    async def read(request):
        asset, pieces = await fake.read_asset(request)
        yield media.ReadAssetResponse(asset=asset)
        async for piece in pieces:
            yield media.ReadAssetResponse(data=piece)

    return servicer(
        media_pb2_grpc.MediaServiceServicer,
        CreateJob=unary(fake.create),
        GetJob=unary(fake.get, lambda job: media.GetJobResponse(job=job)),
        WaitJob=unary(fake.wait, lambda job: media.WaitJobResponse(job=job)),
        ListJobs=unary(fake.list),
        ReadAsset=stream(read),
    )


@pytest.fixture(params=["fake", "grpc"])
async def jobs(request, sockets):
    fake = FakeMedia()
    if request.param == "fake":
        yield Ported(fake, fake)
        return
    address = f"unix:{sockets}/media.sock"
    async with serving(address, media_pb2_grpc.add_MediaServiceServicer_to_server, media_servicer(fake)):
        client = MediaClient(address, pytest.fail)
        yield Ported(client, fake)
        await client.close()


def job_request(organization="org_1", key="", prompt="a fox"):
    return media.CreateJobRequest(
        tenant=wire.Tenant(organization_id=organization, project_id="proj_1"),
        kind=media.JOB_KIND_TEXT_TO_IMAGE,
        model="gpt-image-2",
        image=media.ImageParameters(prompt=prompt, count=2),
        idempotency_key=key,
    )


async def create(jobs, *arguments, **more):
    return (await jobs.port.create(job_request(*arguments, **more))).job


async def test_a_job_is_made_once_per_idempotency_key(jobs):
    first, again = [await create(jobs, key="k") for _ in range(2)]
    assert first.id == again.id
    others = [await create(jobs, "org_2", key="k"), await create(jobs), await create(jobs)]
    assert len({first.id, *(one.id for one in others)}) == 4


async def test_a_job_that_a_limit_refuses_is_none_and_redis_word_of_it_comes_along(jobs):
    refused = (5, 0, 1, 0, 30_000, 0, 0, 0, 0, 1, 1, 5, 30_000)
    jobs.fake.admission = media.Admission(verdict=refused, tokens=7)
    reply = await jobs.port.create(job_request())
    assert (reply.HasField("job"), tuple(reply.admission.verdict), reply.admission.tokens) == (False, refused, 7)


@pytest.mark.parametrize(("code", "lost"), [("no_wallet", ["org_1"]), ("", [])])
async def test_billing_is_asked_for_a_wallet_that_a_job_finds_missing(sockets, code, lost):
    async def refuse(_self, _request, context):
        await abort_with(context, errors.Error(kind=errors.ERROR_KIND_UNAVAILABLE, message="Wait.", code=code))

    address, told = f"unix:{sockets}/media.sock", []
    served = servicer(media_pb2_grpc.MediaServiceServicer, CreateJob=refuse)
    async with serving(address, media_pb2_grpc.add_MediaServiceServicer_to_server, served):
        client = MediaClient(address, told.append)
        with pytest.raises(PublicError) as refused:
            await client.create(job_request())
        await client.close()
    # What callers see is no other code than of everything that is away.
    assert (refused.value.status, refused.value.code) == (503, "service_unavailable")
    assert told == lost


async def test_a_job_from_its_making_to_its_pictures(jobs):
    made = await create(jobs)
    own = {"organization_id": "org_1", "project_id": "proj_1", "job_id": made.id}
    assert (await jobs.port.get(media.GetJobRequest(**own))).state == media.JOB_STATE_QUEUED
    ended = await jobs.port.wait(media.WaitJobRequest(**own, timeout_ms=1000))
    assert (ended.state, len(ended.assets)) == (media.JOB_STATE_SUCCEEDED, 2)
    for asset in ended.assets:
        asked = media.ReadAssetRequest(organization_id="org_1", project_id="proj_1", asset_id=asset.id)
        found, pieces = await jobs.port.read_asset(asked)
        assert found == asset
        assert b"".join([piece async for piece in pieces]) == b"png a fox %d" % asset.index
    await jobs.port.create(job_request("org_2"))
    listed = await jobs.port.list(media.ListJobsRequest(organization_id="org_1", limit=10))
    assert [one.id for one in listed.jobs] == [made.id]


async def test_what_is_somebody_elses_is_not_there(jobs):
    made = await create(jobs)
    await jobs.port.wait(media.WaitJobRequest(organization_id="org_1", job_id=made.id))
    theirs = {"organization_id": "org_2", "job_id": made.id}
    for call in (
        lambda: jobs.port.get(media.GetJobRequest(**theirs)),
        lambda: jobs.port.wait(media.WaitJobRequest(**theirs)),
        lambda: jobs.port.read_asset(media.ReadAssetRequest(organization_id="org_2", asset_id=f"{made.id}_0")),
    ):
        with pytest.raises(PublicError) as raised:
            await call()
        assert (raised.value.status, raised.value.code) == (404, "not_found")


async def test_a_refusal_keeps_its_words(jobs):
    jobs.fake.refuse = public_error(errors.ERROR_KIND_RATE_LIMITED, "slow down", "prompt", retry_after_ms=1500)
    with pytest.raises(PublicError) as raised:
        await jobs.port.create(job_request())
    found, said = raised.value, jobs.fake.refuse
    assert (found.status, found.code, found.message, found.param) == (said.status, said.code, "slow down", "prompt")
    assert found.headers["retry-after-ms"] == "1500"


# The routers.


@pytest.fixture(params=["fake", "grpc"])
async def routers(request, sockets):
    """Two routers: one that answers as the fake is told, and one that is away."""
    here, away = f"unix:{sockets}/router-0.sock", f"unix:{sockets}/router-1.sock"
    fake = FakeRouters()
    state, told = router.DescribeRouterResponse(open_requests=3), router.ExplainRouteResponse()
    fake.states, fake.explanations = [(here, state), (away, None)], [(here, told), (away, None)]
    if request.param == "fake":
        yield Ported(fake, fake)
        return

    async def mode(asked):
        await fake.set_channel_mode(asked)
        return router.SetChannelModeResponse()

    async def explain(asked):
        ((_, found), _) = await fake.explain(asked)
        return found

    async def describe(_):
        return state

    served = servicer(
        router_pb2_grpc.RouterAdminServiceServicer,
        DescribeRouter=unary(describe),
        ExplainRoute=unary(explain),
        SetChannelMode=unary(mode),
    )
    async with serving(here, router_pb2_grpc.add_RouterAdminServiceServicer_to_server, served):
        client = RouterClients([here, away])
        yield Ported(client, fake)
        await client.close()


async def test_each_router_answers_for_itself_and_one_may_be_away(routers):
    assert list(await routers.port.describe()) == routers.fake.states
    asked = router.ExplainRouteRequest(model="m")
    assert list(await routers.port.explain(asked)) == routers.fake.explanations
    assert routers.fake.asked[-1] == asked
    told = await routers.port.set_channel_mode(router.SetChannelModeRequest(channel="a"))
    assert [reached for _, reached in told] == [True, False]


async def test_what_a_router_refuses_is_said(routers):
    routers.fake.refuse = public_error(errors.ERROR_KIND_NOT_FOUND, "There is no channel of this name.", "channel")
    for call in (
        lambda: routers.port.set_channel_mode(router.SetChannelModeRequest(channel="b")),
        lambda: routers.port.explain(router.ExplainRouteRequest(model="m")),
    ):
        with pytest.raises(PublicError) as raised:
            await call()
        assert (raised.value.status, raised.value.message) == (404, "There is no channel of this name.")
