"""Every metric and span of edge, with unit and meaning. docs/reference/metrics.md is written from `FAMILIES`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.metrics import (
    FIRST_TOKEN_SECONDS,
    GEN_AI_SECONDS,
    POWERS_OF_TWO,
    SHORT_SECONDS,
    Family,
    Histogram,
    Sample,
)
from tollgate_kit.process_metrics import process_families

# One inference request, from its last body byte in to its last byte out.
SPAN_REQUEST: Final = "edge.request"
# One image request or media job, from the request to the answer.
SPAN_MEDIA: Final = "edge.media"

# Codes of errors come from providers, too, who may think of any number of them.
_MOST_CODES: Final = 100
_OTHER: Final = "other"

FAMILIES: Final = (
    Family(
        "tollgate_edge_requests_total", "counter", "Requests of known keys that ended, and any that edge failed.",
        ("outcome",),
    ),
    Family("tollgate_edge_refused_total", "counter", "Requests answered with an error, by its code.", ("code",)),
    Family("tollgate_edge_client_gone_total", "counter", "Requests whose caller went away."),
    Family("tollgate_edge_routers_lost_total", "counter", "Tries of requests whose router vanished."),
    Family(
        "tollgate_edge_spans_left_out_total", "counter",
        "Spans of requests that no router had, or none wrote down, beyond 100 in a second, or 25 of one caller.",
    ),
    Family("tollgate_edge_unpriced_total", "counter", "Requests refused since their model has no price."),
    Family(
        "gen_ai_server_request_duration_seconds", "histogram",
        "The same requests, last byte of the request to last byte of the reply; `error_type` is empty for whole ones.",
        ("gen_ai_operation_name", "error_type"),
    ),
    Family(
        "gen_ai_server_time_to_first_token_seconds", "histogram",
        "Whole streams, last byte of the request to first byte of the reply.",
        ("gen_ai_operation_name",),
    ),
    Family(
        "tollgate_edge_queue_seconds", "histogram",
        "Requests that reached a router, last byte of the request to that: the key, the hold, and the router's stream.",
    ),
    Family("tollgate_edge_open_requests", "gauge", "Requests that a router works on, or that wait for one."),
    Family("tollgate_edge_open_streams", "gauge", "Those of them that are answered as a stream."),
    Family("tollgate_edge_stalled_requests", "gauge", "Those of them whose caller reads too slowly."),
    Family("tollgate_edge_parked_requests", "gauge", "Those of them that wait for a router to connect, or to read."),
    Family("tollgate_edge_client_connections", "gauge", "Connections of callers."),
    Family("tollgate_edge_body_bytes", "gauge", "Request bodies in memory."),
    Family("tollgate_edge_body_limit_bytes", "gauge", "Size of all bodies at which requests are refused."),
    Family("tollgate_edge_reply_bytes", "gauge", "Reply bytes in memory that callers have not taken, once a second."),
    Family("tollgate_edge_reply_limit_bytes", "gauge", "Size of them all at which the slowest readers are closed."),
    Family(
        "tollgate_edge_slow_readers_closed_total", "counter",
        "Connections that were closed since their caller took nothing for too long (`timeout`), or for longest while "
        "too many bytes waited (`memory`).",
        ("reason",),
    ),
    Family("tollgate_edge_cached_keys", "gauge", "Keys that are remembered."),
    Family(
        "tollgate_edge_keys_unchecked_seconds",
        "gauge",
        "How long the database has not said which keys have changed; those that are remembered are used meanwhile.",
    ),
    Family("tollgate_edge_key_reads_total", "counter", "Times that the database was asked about a key."),
    Family("tollgate_edge_key_checks", "gauge", "Requests that wait for what the database says of their key."),
    Family("tollgate_edge_redis_connected", "gauge", "1 while Redis is connected."),
    Family(
        "tollgate_edge_unverified_spend", "gauge",
        "What requests may have spent that were let through since Redis went, in units of their currency.",
    ),
    Family("tollgate_edge_admission_waiting", "gauge", "Holds that Redis has not answered yet."),
    Family("tollgate_edge_admission_round_trips_total", "counter", "Calls of Redis, each for what had gathered."),
    Family("tollgate_edge_admission_refused_total", "counter", "Holds that were not placed."),
    Family("tollgate_edge_admission_settle_mismatches_total", "counter", "Holds that were settled at another cost."),
    Family("tollgate_edge_routers_connected", "gauge", "Routers with a stream."),
    Family("tollgate_edge_router_open_requests", "gauge", "Requests that a router works on.", ("router",)),
    Family("tollgate_edge_exchange_streams", "gauge", "Streams to routers; some only finish what they carry."),
    Family("tollgate_edge_exchange_streams_total", "counter", "Streams that were opened.", ("router",)),
    Family("tollgate_edge_exchange_streams_broken_total", "counter", "Streams that ended by themselves.", ("router",)),
    Family(
        "tollgate_edge_exchange_batch_frames", "histogram", "Frames that crossed together, one sum for each batch.",
        ("direction",),
    ),
    Family(
        "tollgate_edge_exchange_queued_frames",
        "gauge",
        "Frames that wait for the next write; a router for which more than 16,384 wait gets no new requests.",
    ),
    Family(
        "tollgate_edge_exchange_queued_bytes",
        "gauge",
        "Body bytes that wait for the next write; a router for which more than 16 MiB wait gets no new requests.",
    ),
    Family("tollgate_edge_access_log_lines_total", "counter", "Lines of the access log."),
    Family("tollgate_edge_access_log_dropped_total", "counter", "Lines that were one too many for their second."),
    Family("tollgate_edge_request_log_rows_total", "counter", "Refused requests that went to the request log."),
    Family(
        "tollgate_edge_request_log_dropped_total", "counter",
        "Refused requests that did not: too many in their second, of their caller, or waiting for the event log.",
    ),
    Family("tollgate_edge_request_log_failures_total", "counter", "Times that the event log did not take them."),
    *process_families("edge"),
)  # fmt: skip


class RequestSeries:
    """What is counted of the requests of one operation that ended in one way. Times in seconds."""

    __slots__ = ("duration", "first_token")

    def __init__(self) -> None:
        self.duration = Histogram(GEN_AI_SECONDS)
        self.first_token = Histogram(FIRST_TOKEN_SECONDS)


class InferenceCounters:
    """Plain numbers that the hot path counts; read when metrics are scraped."""

    def __init__(self) -> None:
        self.ends: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()
        # By operation and outcome, which are enumerations.
        self.series: dict[tuple[int, int], RequestSeries] = {}
        self.queue = Histogram(SHORT_SECONDS)
        self.received = Histogram(POWERS_OF_TWO)
        self.sent = Histogram(POWERS_OF_TWO)
        self.unpriced = 0
        self.routers_lost = 0
        self.client_gone = 0
        self.spans_left_out = 0

    def count_end(self, operation: int, outcome: int, queue: float, first_token: float, duration: float) -> None:
        """A request has ended. Times in seconds; below 0, `queue` and `first_token` count for none."""
        self.ends[outcome] += 1
        series = self.series.get((operation, outcome))
        if series is None:
            series = self.series[operation, outcome] = RequestSeries()
        series.duration.observe(duration)
        if first_token >= 0:
            series.first_token.observe(first_token)
        if queue >= 0:
            self.queue.observe(queue)

    def count_refused(self, code: str) -> None:
        """A request was answered with an error."""
        self.refused[code if code in self.refused or len(self.refused) < _MOST_CODES else _OTHER] += 1

    def samples(self) -> Iterator[Sample]:
        """Yields everything that was counted here."""
        for outcome, count in self.ends.items():
            yield "tollgate_edge_requests_total", (outcome_name(outcome),), count
        for code, count in self.refused.items():
            yield "tollgate_edge_refused_total", (code,), count
        for name, count in (
            ("client_gone", self.client_gone),
            ("routers_lost", self.routers_lost),
            ("spans_left_out", self.spans_left_out),
            ("unpriced", self.unpriced),
        ):
            yield f"tollgate_edge_{name}_total", (), count
        for (operation, outcome), series in self.series.items():
            name, whole = operation_name(operation), outcome == wire.OUTCOME_OK
            labels = (name, "" if whole else outcome_name(outcome))
            yield "gen_ai_server_request_duration_seconds", labels, series.duration
            if whole:
                yield "gen_ai_server_time_to_first_token_seconds", (name,), series.first_token
        yield "tollgate_edge_queue_seconds", (), self.queue
        for direction, frames in (("received", self.received), ("sent", self.sent)):
            yield "tollgate_edge_exchange_batch_frames", (direction,), frames


def outcome_name(outcome: int) -> str:
    """Returns the name of an Outcome in lower case, without its prefix."""
    return wire.Outcome.Name(outcome).removeprefix("OUTCOME_").lower()


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
    return _OPERATIONS.get(operation, _OTHER)
