"""Billing's mending of the usage store as edge sees it: one suite for the fake, and for the client over gRPC."""

import tempfile

import pytest
from services.edge.tests.fakes.served import servicer, stream
from services.edge.tests.fakes.services import FakeMending

from tollgate.billing.v1 import mending_pb2 as mending
from tollgate.billing.v1 import mending_pb2_grpc
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.adapters.mending_client import MendingClient
from tollgate_edge.errors import PublicError, public_error
from tollgate_kit.grpc_io import new_server

pytestmark = pytest.mark.integration

SAID = [mending.RebuildUsageResponse(step="read", records=2**40), mending.RebuildUsageResponse(step="done")]


@pytest.fixture(params=["fake", "grpc"])
async def ported(request):
    """A port, and the fake that stands for what is behind it."""
    fake = FakeMending()
    if request.param == "fake":
        yield fake, fake
        return

    async def refill(asked):
        async for one in await fake.refill(asked):
            yield one

    async def rebuild(asked):
        async for one in await fake.rebuild(asked):
            yield one

    with tempfile.TemporaryDirectory(prefix="tgm-") as directory:
        server = new_server(f"unix:{directory}/mending.sock")
        served = servicer(
            mending_pb2_grpc.MendingServiceServicer, RefillRollups=stream(refill), RebuildUsage=stream(rebuild)
        )
        mending_pb2_grpc.add_MendingServiceServicer_to_server(served, server)
        await server.start()
        client = MendingClient(f"unix:{directory}/mending.sock")
        yield client, fake
        await client.close()
        await server.stop(0)


async def test_what_is_said_is_passed_on_in_order(ported):
    port, fake = ported
    fake.lines = SAID
    asked = mending.RebuildUsageRequest(from_us=1, to_us=2, dry_run=True)
    assert [one async for one in await port.rebuild(asked)] == SAID
    assert fake.asked == [asked]
    # Where there is nothing to be made again, nothing is said.
    fake.lines = []
    assert [one async for one in await port.refill(mending.RefillRollupsRequest(rollup="day"))] == []


async def test_what_is_refused_at_once_is_raised_at_once_and_what_breaks_off_later_after_what_was_said(ported):
    port, fake = ported
    fake.refused = public_error(errors.ERROR_KIND_UNAVAILABLE)
    with pytest.raises(PublicError) as raised:
        await port.rebuild(mending.RebuildUsageRequest())
    assert raised.value.code == "service_unavailable"
    fake.refused, fake.lines = None, [SAID[0], public_error(errors.ERROR_KIND_INVALID_REQUEST, "another one runs")]
    replies = await port.rebuild(mending.RebuildUsageRequest())
    assert await anext(replies) == SAID[0]
    with pytest.raises(PublicError, match="another one runs"):
        await anext(replies)
