"""gRPC servers and channels with the options every service uses: sized messages, pings, Unix sockets or TCP."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from tollgate.errors.v1 import errors_pb2

# A batch is at most 256 KiB of frames; assets and configuration documents travel in pieces or are larger than that.
_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
OPTIONS: Final[Sequence[tuple[str, int]]] = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)
ERROR_METADATA_KEY: Final = "tollgate-error-bin"


def new_channel(address: str) -> aio.Channel:
    """Returns a channel to `address`, `host:port` or `unix:PATH`."""
    return aio.insecure_channel(address, options=[*OPTIONS, ("grpc.default_authority", "tollgate")])


def new_server(address: str) -> aio.Server:
    """Returns a server that will listen at `address`, `host:port` or `unix:PATH` (a stale socket file is removed)."""
    if address.startswith("unix:"):
        Path(address.removeprefix("unix:")).unlink(missing_ok=True)
    server = aio.server(options=[*OPTIONS, ("grpc.so_reuseport", 0)])
    server.add_insecure_port(address)
    return server


async def abort_with(context: aio.ServicerContext[Any, Any], error: errors_pb2.Error) -> None:
    """Ends the call with a typed error that the caller reads back with `error_from`. Always raises."""
    context.set_trailing_metadata(((ERROR_METADATA_KEY, error.SerializeToString()),))
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, error.message)


def error_from(failure: aio.AioRpcError) -> errors_pb2.Error:
    """Returns the typed error of a failed call; a call that never got through becomes UNAVAILABLE."""
    for key, value in failure.trailing_metadata() or ():
        if key == ERROR_METADATA_KEY and isinstance(value, bytes):
            try:
                return errors_pb2.Error.FromString(value)
            except DecodeError:
                break
    if failure.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}:
        return errors_pb2.Error(kind=errors_pb2.ERROR_KIND_UNAVAILABLE, message="A service behind the gateway is away.")
    return errors_pb2.Error(kind=errors_pb2.ERROR_KIND_INTERNAL, message="Internal error.")
