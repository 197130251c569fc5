"""What edge says to billing of the disks of its own process and of routers."""

import pytest
from services.edge.tests.fakes.services import FakeControls, FakeRouters

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.router.v1 import router_pb2 as router
from tollgate_edge.errors import public_error
from tollgate_edge.use_cases.report_spools import ReportSpools

pytestmark = pytest.mark.unit

OWN = wire.Spool(process="edge 0 at host", records=1, size_bytes=2, limit_bytes=3, problem="no brokers")


async def test_own_spool_and_those_of_routers_that_answer_are_reported():
    billing, routers = FakeControls(), FakeRouters()
    state = router.DescribeRouterResponse(
        spool_records=7, spool_bytes=80, spool_limit_bytes=100, spool_problem="no brokers"
    )
    older = router.DescribeRouterResponse(spool_records=7, spool_bytes=80)
    routers.states = [("r-0:9401", state), ("r-1:9401", None), ("r-2:9401", older)]
    await ReportSpools(billing, routers, lambda: OWN)()
    ((name, asked),) = billing.asked
    assert name == "report_spools"
    assert list(asked.spools) == [
        OWN,
        wire.Spool(process="router r-0:9401", records=7, size_bytes=80, limit_bytes=100, problem="no brokers"),
    ]


async def test_billing_may_be_away():
    billing = FakeControls()
    billing.replies["report_spools"] = public_error(errors.ERROR_KIND_UNAVAILABLE)
    report = ReportSpools(billing, FakeRouters(), lambda: OWN)
    for _ in range(2):
        await report()
    assert len(billing.asked) == 2
