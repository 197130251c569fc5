"""What edge asks of one router only, a router asks of one provider only."""

import pytest

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.operations import OPERATIONS
from tollgate_router.domain.repeating import ONCE

pytestmark = pytest.mark.contract


def test_both_services_name_the_same_operations():
    assert {number for number, operation in OPERATIONS.items() if operation.once} == ONCE
    # Whatever is added to the contract is decided on, not left to a default. An image is a media job, which never
    # comes to a router.
    assert OPERATIONS.keys() == set(wire.Operation.values()) - {wire.OPERATION_UNSPECIFIED, wire.OPERATION_IMAGE}
