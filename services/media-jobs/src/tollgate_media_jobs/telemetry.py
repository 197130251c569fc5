"""Every metric and span of media-jobs, with unit and meaning."""

from typing import Final

from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tollgate_kit.metrics import Family
from tollgate_kit.process_metrics import loop_families

# From a job's creation to its end.
SPAN_JOB: Final = "media.job"
KIND_JOB: Final = SpanKind.SERVER
# One call to a provider.
SPAN_ATTEMPT: Final = "media.attempt"
KIND_ATTEMPT: Final = SpanKind.CLIENT
# A usage event's way from the outbox to the event log.
SPAN_PUBLISH: Final = "usage.recorded.v1 send"

SERVICE: Final = "media_jobs"
_SECONDS: Final = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
_PREFIX: Final = "tollgate_media_jobs_"
LOOP_FAMILIES: Final = loop_families(SERVICE)

_CREATED: Final = Family(f"{_PREFIX}created_total", "counter", "Jobs created.")
_ENDED: Final = Family(
    f"{_PREFIX}ended_total", "counter", "Jobs that ended, by state and error kind.", ("state", "error")
)
_ATTEMPTS: Final = Family(
    f"{_PREFIX}attempts_total", "counter", "Calls to providers, by channel and outcome.", ("channel", "outcome")
)
_DURATION: Final = Family(f"{_PREFIX}duration_seconds", "histogram", "From creation to end.")
_LATE_ANSWERS: Final = Family(f"{_PREFIX}late_answers_total", "counter", "Answers that came after the job had ended.")
_LOST_RACES: Final = Family(f"{_PREFIX}lost_races_total", "counter", "Transitions that another worker had made first.")
_UNPRICED: Final = Family(f"{_PREFIX}unpriced_total", "counter", "Jobs whose units have no price: kept at charge 0.")
_HOLDS_GONE: Final = Family(f"{_PREFIX}holds_gone_total", "counter", "Holds found released while their job was open.")
_OPEN: Final = Family(f"{_PREFIX}open", "gauge", "Jobs that have not ended, by state.", ("state",))
_OUTBOX: Final = Family(f"{_PREFIX}outbox_depth", "gauge", "Events that wait to leave.")
_ASSET_BYTES: Final = Family(f"{_PREFIX}asset_bytes_total", "counter", "Bytes of stored results.")

FAMILIES: Final = (
    _CREATED,
    _ENDED,
    _ATTEMPTS,
    _DURATION,
    _LATE_ANSWERS,
    _LOST_RACES,
    _UNPRICED,
    _HOLDS_GONE,
    _OPEN,
    _OUTBOX,
    _ASSET_BYTES,
    *LOOP_FAMILIES,
)


class Metrics:
    """The metrics of one process, in a registry of its own; those of its loop are `LoopMeasures`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(family: Family) -> Counter:
            return Counter(family.name, family.meaning, family.labels, registry=registry)

        def gauge(family: Family) -> Gauge:
            return Gauge(family.name, family.meaning, family.labels, registry=registry)

        self.created = counter(_CREATED)
        self.ended = counter(_ENDED)
        self.attempts = counter(_ATTEMPTS)
        self.seconds = Histogram(_DURATION.name, _DURATION.meaning, buckets=_SECONDS, registry=registry)
        self.late_answers = counter(_LATE_ANSWERS)
        self.lost_races = counter(_LOST_RACES)
        self.unpriced = counter(_UNPRICED)
        self.holds_gone = counter(_HOLDS_GONE)
        self.waiting = gauge(_OPEN)
        self.outbox = gauge(_OUTBOX)
        self.assets_bytes = counter(_ASSET_BYTES)
