"""What streams and pools hold, read when metrics are asked for, so that nobody has to count it."""

from collections.abc import Iterable, Iterator

from tollgate_kit.metrics import Sample
from tollgate_router.domain.health.registry import Health
from tollgate_router.exchange.session import Session
from tollgate_router.upstream.client import UpstreamClient


def stream_samples(sessions: Iterable[Session]) -> Iterator[Sample]:
    """Yields what the streams hold now; costs a walk over the open requests."""
    streams = tuple(sessions)
    requests = [request for stream in streams for request in stream.requests.values()]
    outboxes = [stream.outbox for stream in streams]
    for name, value in (
        ("stalled_requests", sum(request.stalled for request in requests)),
        ("body_bytes", sum(request.held_bytes for request in requests)),
        ("exchange_streams", len(streams)),
        ("exchange_queued_frames", sum(outbox.waiting_frames for outbox in outboxes)),
        ("exchange_queued_bytes", sum(outbox.waiting_bytes for outbox in outboxes)),
        ("unacknowledged", sum(stream.unacknowledged for stream in streams)),
    ):
        yield f"tollgate_router_{name}", (), value


def health_samples(health: Health, now: float) -> Iterator[Sample]:
    """Yields what is held back at `now` of the monotonic clock, and what failures have cost."""
    for held, count in health.held(now).items():
        yield "tollgate_router_held", held, count
    for cause, count in health.extra_attempts().items():
        yield "tollgate_router_extra_attempts_total", cause, count


def upstream_samples(client: UpstreamClient) -> Iterator[Sample]:
    """Yields what the upstream client has done and holds now."""
    for channel, calls in client.open_by_channel().items():
        yield "tollgate_router_upstream_open_calls", (channel,), calls
    for pool in client.pools:
        origin = (pool.origin.host, str(pool.origin.port))
        states = {
            "active": pool.open_connections - pool.idle_connections,
            "idle": pool.idle_connections,
            "connecting": pool.connecting,
        }
        for state, count in states.items():
            yield "tollgate_router_upstream_connections", (*origin, state), count
        yield "tollgate_router_upstream_waiting_calls", origin, pool.waiting_calls
    for name, count in (
        ("connections_opened", client.counters.opened),
        ("connections_reused", client.counters.reused),
        ("calls_repeated", client.counters.retried),
    ):
        yield f"tollgate_router_upstream_{name}_total", (), count
