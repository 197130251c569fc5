"""Edge hangs, and router, billing and media-jobs are killed: they come back from their copies on disk, and work.

Edge is stopped rather than killed, so that the product does not start it again: its sockets take connections, and no
word comes back.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest
from tests.integration.callers import chat
from tests.integration.product import Product
from tests.servers.process import alive

from tollgate.billing.v1 import billing_pb2, billing_pb2_grpc
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.exchange.v1 import exchange_pb2_grpc
from tollgate.media.v1 import media_pb2, media_pb2_grpc
from tollgate.router.v1 import router_pb2, router_pb2_grpc
from tollgate_cli.home import Home
from tollgate_cli.probe import get_json
from tollgate_kit.grpc_io import new_channel

pytestmark = pytest.mark.integration

FOLLOWERS = ("router", "billing", "media-jobs")
# Of the request that a test sends to router itself, since edge is not there to do so.
MODEL, BODY = "gpt-5-mini", b'{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello"}]}'
ANSWERED = 3


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("copies"))
    try:
        yield product.start()
    finally:
        for pid in product.pids("edge"):
            os.kill(pid, signal.SIGCONT)
        product.stop()


def address(product: Product, name: str) -> str:
    return f"unix:{Home(product.home).socket(name)}"


def readiness(product: Product, service: str) -> dict[str, object]:
    """Returns what /readyz of a process says; nothing while it does not answer."""
    name = "router-0" if service == "router" else service
    try:
        _, body = get_json(address(product, f"{name}-admin"), "/readyz")
    except OSError:
        return {}
    return body if isinstance(body, dict) else {}


def kill(product: Product, service: str) -> None:
    """Returns when another process runs in its place, ready or not."""
    (killed,) = product.pids(service)
    os.kill(killed, signal.SIGKILL)
    product.wait(lambda: product.pids(service) not in ([killed], []), f"{service} to be started again")
    assert not alive(killed)


@pytest.fixture(scope="module")
def digests(own: Product) -> dict[str, object]:
    """The configuration version of each, as edge had given it; from now on edge says nothing, and they are new."""
    before = {service: readiness(own, service)["config_digest"] for service in FOLLOWERS}
    (billing,) = own.pids("billing")
    os.kill(billing, signal.SIGSTOP)
    assert [chat(own).status_code for _ in range(ANSWERED)] == [200] * ANSWERED
    os.kill(own.pids("edge")[0], signal.SIGSTOP)
    for service in FOLLOWERS:
        kill(own, service)
    return before


@pytest.fixture
async def tenant(own: Product, digests: dict[str, object]) -> wire.Tenant:
    """Who sent the requests before, as billing knows them."""
    assert digests
    async with new_channel(address(own, "billing")) as channel:
        stub = billing_pb2_grpc.BillingServiceStub(channel)  # type: ignore[no-untyped-call]
        (row,) = (await stub.ListRequests(billing_pb2.ListRequestsRequest(limit=1), wait_for_ready=True)).rows
    return wire.Tenant(
        organization_id=row.organization_id,
        project_id=row.project_id,
        api_key_id=row.api_key_id,
        price_group="default",
        route_group="default",
    )


def test_they_are_ready_with_the_version_that_was_in_force(own: Product, digests: dict[str, object]) -> None:
    assert len(set(digests.values())) == 1
    for service in FOLLOWERS:
        own.wait(lambda service=service: readiness(own, service).get("ready"), f"{service} to be ready")
        assert readiness(own, service)["config_digest"] == digests[service]
        log = (own.home / "logs" / f"{'router-0' if service == 'router' else service}.log").read_text(encoding="utf-8")
        assert "started from the copy on disk" in log


async def test_billing_books_what_came_meanwhile(own: Product, digests: dict[str, object]) -> None:
    assert digests
    async with new_channel(address(own, "billing")) as channel, asyncio.timeout(60):
        stub = billing_pb2_grpc.BillingServiceStub(channel)  # type: ignore[no-untyped-call]
        status = billing_pb2.GetStatusResponse()
        while status.rows < ANSWERED:
            status = await stub.GetStatus(billing_pb2.GetStatusRequest(), wait_for_ready=True)
            await asyncio.sleep(0.1)
        rows = (await stub.ListRequests(billing_pb2.ListRequestsRequest(limit=10))).rows
    assert (status.rows, status.poison, status.mismatches) == (ANSWERED, 0, 0)
    assert all(row.charge_pico > 0 and row.price_digest for row in rows)


async def test_router_answers(own: Product, tenant: wire.Tenant) -> None:
    opened = wire.Open(
        id=1,
        request_id="req_from_the_copy",
        started_at_us=time.time_ns() // 1000,
        dialect=wire.DIALECT_OPENAI_CHAT,
        operation=wire.OPERATION_CHAT,
        model=MODEL,
        tenant=tenant,
        body=BODY,
        body_length=len(BODY),
        **{"try": 1},
    )
    async with new_channel(address(own, "router-0")) as channel, asyncio.timeout(60):
        call = exchange_pb2_grpc.ExchangeServiceStub(channel).Exchange(wait_for_ready=True)  # type: ignore[no-untyped-call]
        await call.write(wire.EdgeBatch(open=[opened]))
        reply = await call.read()
        while not reply.end:
            reply = await call.read()
        (end,) = reply.end
        await call.write(wire.EdgeBatch(ack=[1]))
        await call.done_writing()
        asked = router_pb2.DescribeRouterRequest()
        described = await router_pb2_grpc.RouterAdminServiceStub(channel).DescribeRouter(asked)  # type: ignore[no-untyped-call]
    assert (end.outcome, end.channel) == (wire.OUTCOME_OK, "simulator")
    assert end.charge_pico > 0
    assert described.channels
    assert all(channel.usable for channel in described.channels)


async def test_media_jobs_draws(own: Product, tenant: wire.Tenant) -> None:
    request = media_pb2.CreateJobRequest(
        tenant=tenant,
        kind=media_pb2.JOB_KIND_TEXT_TO_IMAGE,
        model="gpt-image-2",
        image=media_pb2.ImageParameters(prompt="a lighthouse", size="1024x1024"),
        request_id="req_drawn_from_the_copy",
    )
    async with new_channel(address(own, "media-jobs")) as channel, asyncio.timeout(60):
        stub = media_pb2_grpc.MediaServiceStub(channel)  # type: ignore[no-untyped-call]
        made = (await stub.CreateJob(request, wait_for_ready=True)).job
        wait = media_pb2.WaitJobRequest(
            organization_id=tenant.organization_id, project_id=tenant.project_id, job_id=made.id, timeout_ms=50_000
        )
        job = (await stub.WaitJob(wait)).job
    assert (job.state, len(job.assets)) == (media_pb2.JOB_STATE_SUCCEEDED, 1)
    assert job.charge_pico > 0


def test_who_has_no_copy_waits_for_edge_and_then_all_is_booked(own: Product, digests: dict[str, object]) -> None:
    (own.home / "router-0" / "state" / "config-version.json").unlink()
    kill(own, "router")
    own.wait(lambda: readiness(own, "router").get("missing"), "router to say what it waits for")
    assert any("no configuration version" in str(one) for one in readiness(own, "router")["missing"])
    os.kill(own.pids("edge")[0], signal.SIGCONT)
    own.wait(lambda: readiness(own, "router").get("ready"), "router to be given the configuration")
    assert readiness(own, "router")["config_digest"] == digests["router"]
    own.wait(lambda: chat(own).status_code == 200, "requests to be answered again")
    own.wait_booked(ANSWERED + 3)
    books = own.get("reconciliation")
    assert books["agree"], books["differences"]
