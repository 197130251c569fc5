"""Channels and servers are given options under the names that gRPC knows: an unknown one is ignored without a word."""

from pathlib import Path

import pytest
from grpc._cython import cygrpc

from tollgate_kit.grpc_io import OPTIONS

pytestmark = pytest.mark.unit


def test_the_library_knows_every_option_by_name() -> None:
    library = Path(cygrpc.__file__).read_bytes()
    assert [name for name, _ in OPTIONS if name.encode() + b"\0" not in library] == []


def test_a_server_allows_the_pings_that_channels_send() -> None:
    options = dict(OPTIONS)
    assert options["grpc.keepalive_permit_without_calls"]
    assert options["grpc.http2.min_ping_interval_without_data_ms"] < options["grpc.keepalive_time_ms"]
