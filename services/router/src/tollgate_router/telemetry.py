"""Every metric and span of the router, with unit and meaning. docs/reference/metrics.md is written from `FAMILIES`."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.metrics import GEN_AI_MICROSECONDS, POWERS_OF_TWO, Bounded, Family, Histogram, Sample
from tollgate_kit.process_metrics import process_families

# One upstream call, from the first byte out to the last byte in.
SPAN_ATTEMPT: Final = "router.attempt"
# A usage event's way from the spool to the event log.
SPAN_PUBLISH: Final = "usage.recorded.v1 send"

# Labels of an attempt: one channel has one provider; never a key, a model or a request.
_CALL: Final = ("channel", "gen_ai_provider_name", "gen_ai_operation_name")
# The port may be left out by whoever adds up.
_ORIGIN: Final = ("server_address", "server_port")
# Channels with time series of their own, times the ways in which they fail.
_MOST_SERIES: Final = 4_000

FAMILIES: Final = (
    Family("tollgate_router_requests_total", "counter", "Requests that ended, by outcome.", ("outcome",)),
    Family("tollgate_router_open_requests", "gauge", "Requests that edges wait for."),
    Family("tollgate_router_background_responses", "gauge", "Those of them whose callers were let go."),
    Family("tollgate_router_stalled_requests", "gauge", "Replies that are held since the caller reads too slowly."),
    Family("tollgate_router_credit_stalls_total", "counter", "Times that a reply had used up its window."),
    Family("tollgate_router_body_bytes", "gauge", "Bodies of open requests, and replies that are held whole."),
    Family(
        "tollgate_router_long_body_bytes", "gauge",
        "Of these bodies, what counts towards `TOLLGATE_ROUTER_MAX_BODY_MEMORY_BYTES`: all beyond 64 KiB, whole.",
    ),
    Family("tollgate_router_bodies_refused_total", "counter", "Requests that were refused since it was full."),
    Family(
        "tollgate_router_gathered_reply_bytes", "gauge",
        "Of these replies, those that are not whole yet and count towards `TOLLGATE_ROUTER_MAX_GATHERED_REPLY_BYTES`.",
    ),
    Family(
        "tollgate_router_replies_refused_total", "counter",
        "Replies that were given up since there was no room to gather them.",
    ),
    Family(
        "tollgate_router_waiting_reply_bytes", "gauge",
        "Whole replies that leave at the pace of callers who read slowly; `TOLLGATE_ROUTER_MAX_WAITING_REPLY_BYTES` is "
        "their limit.",
    ),
    Family("tollgate_router_exchange_streams", "gauge", "Streams from edge processes."),
    Family("tollgate_router_exchange_streams_total", "counter", "Streams that edge processes opened."),
    Family(
        "tollgate_router_exchange_batch_frames", "histogram", "Frames that crossed together, one sum for each batch.",
        ("direction",),
    ),
    Family("tollgate_router_exchange_queued_frames", "gauge", "Frames that wait for the next write."),
    Family("tollgate_router_exchange_queued_bytes", "gauge", "Reply bytes that wait for the next write."),
    Family("tollgate_router_unacknowledged", "gauge", "Ended requests whose End edge has not acknowledged yet."),
    Family("tollgate_router_attempts_total", "counter", "Upstream calls that began.", ("channel",)),
    Family("tollgate_router_failures_total", "counter", "Upstream calls that failed.", ("channel", "error_type")),
    Family(
        "tollgate_router_extra_attempts_total", "counter",
        "Attempts that failures of it caused; those for a long prompt or refused content are outside of the budget.",
        ("channel", "reason"),
    ),
    Family("tollgate_router_fallbacks_total", "counter", "Requests that another model answered.", ("reason",)),
    Family(
        "tollgate_router_held", "gauge", "Channels, credentials and models that get no requests now.",
        ("channel", "why"),
    ),
    Family("tollgate_router_probes_total", "counter", "Probes of channels that were sent."),
    Family("tollgate_router_probes_failed_total", "counter", "Those of them that failed."),
    Family(
        "gen_ai_client_operation_duration_seconds", "histogram",
        "Upstream calls that ended, first byte out to last byte in; `error_type` is empty for whole replies.",
        (*_CALL, "error_type"),
    ),
    Family(
        "gen_ai_client_operation_time_to_first_chunk_seconds", "histogram",
        "Upstream calls with a whole stream, from the first byte out to the first one in.", _CALL,
    ),
    Family(
        "tollgate_router_tokens_total", "counter", "Tokens of the replies: all kinds of input, all of output.",
        ("channel", "gen_ai_token_type"),
    ),
    Family("tollgate_router_unpriced_total", "counter", "Attempts that used what the price book has no price for."),
    Family("tollgate_router_upstream_open_calls", "gauge", "Upstream calls under way.", ("channel",)),
    Family(
        "tollgate_router_upstream_connections", "gauge", "Connections to an origin: active, idle or connecting.",
        (*_ORIGIN, "http_connection_state"),
    ),
    Family("tollgate_router_upstream_waiting_calls", "gauge", "Calls that wait for a connection.", _ORIGIN),
    Family("tollgate_router_upstream_connections_opened_total", "counter", "Connections that were opened."),
    Family("tollgate_router_upstream_connections_reused_total", "counter", "Calls that found a connection open."),
    Family(
        "tollgate_router_upstream_calls_repeated_total", "counter",
        "Calls that were sent again since their connection had been closed meanwhile.",
    ),
    *process_families("router"),
)  # fmt: skip


class AttemptSeries:
    """What is counted of the attempts of one channel and operation that ended in one way. Times in microseconds."""

    __slots__ = ("duration", "first_chunk", "units")

    def __init__(self) -> None:
        self.duration = Histogram(GEN_AI_MICROSECONDS, 1e-6)
        self.first_chunk = Histogram(GEN_AI_MICROSECONDS, 1e-6)
        self.units: defaultdict[str, int] = defaultdict(int)

    def add(
        self,
        *,
        upstream_started_us: int,
        first_byte_us: int,
        total_us: int,
        units: Mapping[str, int],
        first_chunk: bool,
    ) -> None:
        """An upstream call has ended; `first_chunk`: it was a whole stream."""
        self.duration.observe(total_us - upstream_started_us)
        if first_chunk:
            self.first_chunk.observe(first_byte_us - upstream_started_us)
        added = self.units
        for unit, quantity in units.items():
            added[unit] += quantity


# Channel, provider, operation, kind of error.
_Key = tuple[str, str, int, int]


class RouterCounters:
    """Plain numbers that the hot path counts; read when metrics are scraped."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.ends: Counter[int] = Counter()
        self.fallbacks: Counter[str] = Counter()
        self.series: Bounded[_Key, AttemptSeries] = Bounded(
            AttemptSeries, _MOST_SERIES, ("other", "other", wire.OPERATION_UNSPECIFIED, errors.ERROR_KIND_UNSPECIFIED)
        )
        self.received = Histogram(POWERS_OF_TWO)
        self.sent = Histogram(POWERS_OF_TWO)
        self.streams = 0
        self.stalls = 0
        self.waiting_reply_bytes = 0

    def samples(self) -> Iterator[Sample]:
        """Yields everything that was counted here."""
        for outcome, count in self.ends.items():
            yield "tollgate_router_requests_total", (_name(wire.Outcome.Name(outcome), "OUTCOME_"),), count
        for reason, count in self.fallbacks.items():
            yield "tollgate_router_fallbacks_total", (reason,), count
        yield "tollgate_router_credit_stalls_total", (), self.stalls
        yield "tollgate_router_waiting_reply_bytes", (), self.waiting_reply_bytes
        yield "tollgate_router_exchange_streams_total", (), self.streams
        for direction, frames in (("received", self.received), ("sent", self.sent)):
            yield "tollgate_router_exchange_batch_frames", (direction,), frames
        for channel, count in self.attempts.items():
            yield "tollgate_router_attempts_total", (channel,), count
        yield from self._attempt_samples()

    def _attempt_samples(self) -> Iterator[Sample]:
        failures: Counter[tuple[str, str]] = Counter()
        tokens: Counter[tuple[str, str]] = Counter()
        for (channel, provider, operation, kind), series in self.series.items():
            call = (channel, provider, operation_name(operation))
            error_type = _name(errors.ErrorKind.Name(kind), "ERROR_KIND_") if kind else ""
            yield "gen_ai_client_operation_duration_seconds", (*call, error_type), series.duration
            if not kind:
                yield "gen_ai_client_operation_time_to_first_chunk_seconds", call, series.first_chunk
            elif kind != errors.ERROR_KIND_CANCELLED:
                failures[channel, error_type] += sum(series.duration.counts)
            for unit, quantity in series.units.items():
                if token_type := _TOKEN_TYPES.get(unit):
                    tokens[channel, token_type] += quantity
        for labels, count in failures.items():
            yield "tollgate_router_failures_total", labels, count
        for labels, count in tokens.items():
            yield "tollgate_router_tokens_total", labels, count


_TOKEN_TYPES: Final = dict.fromkeys(
    ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input"), "input"
) | dict.fromkeys(("output", "reasoning", "audio_output", "image_output"), "output")
_OPERATIONS: Final[Mapping[int, str]] = {
    wire.OPERATION_CHAT: "chat",
    wire.OPERATION_EMBEDDINGS: "embeddings",
    wire.OPERATION_COMPLETION: "text_completion",
    wire.OPERATION_MODERATION: "moderation",
    wire.OPERATION_RERANK: "rerank",
    wire.OPERATION_SPEECH: "speech",
    wire.OPERATION_TRANSCRIPTION: "transcription",
    wire.OPERATION_TRANSLATION: "translation",
}


def operation_name(operation: int) -> str:
    """Returns how the conventions for generative AI call an operation."""
    return _OPERATIONS.get(operation, "other")


def _name(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()
