"""What the gateway holds, read when metrics are asked for, so that nobody has to count it."""

from collections.abc import Iterator

from tollgate_edge.inference.gateway import InferenceGateway
from tollgate_kit.metrics import Sample


def gateway_samples(gateway: InferenceGateway) -> Iterator[Sample]:
    """Yields what the gateway holds now; costs a walk over the open requests."""
    admission, peers, streams = gateway.admission, gateway.pool.peers, gateway.pool.streams
    outboxes = [stream.outbox for stream in streams]
    for name, value in (
        ("open_requests", len(gateway.open)),
        ("open_streams", sum(exchange.asked is not None and exchange.asked.stream for exchange in gateway.open)),
        ("stalled_requests", sum(exchange.stalled for exchange in gateway.open)),
        ("parked_requests", gateway.parked),
        ("client_connections", len(gateway.doors)),
        ("body_bytes", gateway.body_bytes),
        ("body_limit_bytes", gateway.settings.max_body_memory_bytes),
        ("reply_bytes", gateway.slow_readers.waiting_bytes),
        ("reply_limit_bytes", gateway.settings.max_reply_memory_bytes),
        ("key_checks", gateway.key_checks),
        ("admission_waiting", admission.waiting),
        ("admission_round_trips_total", admission.round_trips),
        ("admission_refused_total", admission.refused),
        ("admission_settle_mismatches_total", admission.settle_mismatches),
        ("access_log_lines_total", gateway.access_log.written),
        ("access_log_dropped_total", gateway.access_log.dropped),
        ("request_log_rows_total", gateway.refused_log.written),
        ("request_log_dropped_total", gateway.refused_log.dropped),
        ("request_log_failures_total", gateway.refused_log.failures),
        ("routers_connected", gateway.pool.connected),
        ("exchange_streams", len(streams)),
        ("exchange_queued_frames", sum(outbox.frames for outbox in outboxes)),
        ("exchange_queued_bytes", sum(outbox.bytes for outbox in outboxes)),
    ):
        yield f"tollgate_edge_{name}", (), value
    for why, count in gateway.slow_readers.closed.items():
        yield "tollgate_edge_slow_readers_closed_total", (why,), count
    for peer in peers:
        router = (peer.address,)
        yield "tollgate_edge_router_open_requests", router, peer.open_requests
        yield "tollgate_edge_exchange_streams_total", router, peer.opened
        yield "tollgate_edge_exchange_streams_broken_total", router, peer.broken
