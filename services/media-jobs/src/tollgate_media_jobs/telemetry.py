"""Every metric and span of media-jobs, with unit and meaning."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# From a job's creation to its end.
SPAN_JOB: Final = "media.job"
# One call to a provider.
SPAN_ATTEMPT: Final = "media.attempt"
# A usage event's way from the outbox to the event log.
SPAN_PUBLISH: Final = "usage.recorded.v1 send"

_SECONDS: Final = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.created = Counter("tollgate_media_jobs_created", "Jobs created.", registry=registry)
        self.ended = Counter(
            "tollgate_media_jobs_ended",
            "Jobs that ended, by state and error kind.",
            ["state", "error"],
            registry=registry,
        )
        self.attempts = Counter(
            "tollgate_media_jobs_attempts", "Calls to providers, by channel and outcome.", ["channel", "outcome"],
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "tollgate_media_jobs_duration_seconds", "From creation to end.", buckets=_SECONDS, registry=registry
        )
        self.late_answers = Counter(
            "tollgate_media_jobs_late_answers", "Answers that came after the job had ended.", registry=registry
        )
        self.lost_races = Counter(
            "tollgate_media_jobs_lost_races", "Transitions that another worker had made first.", registry=registry
        )
        self.unpriced = Counter(
            "tollgate_media_jobs_unpriced", "Jobs whose units have no price: kept at charge 0.", registry=registry
        )
        self.holds_gone = Counter(
            "tollgate_media_jobs_holds_gone", "Holds found released while their job was open.", registry=registry
        )
        self.waiting = Gauge(
            "tollgate_media_jobs_open", "Jobs that have not ended, by state.", ["state"], registry=registry
        )
        self.outbox = Gauge("tollgate_media_jobs_outbox_depth", "Events that wait to leave.", registry=registry)
        self.assets_bytes = Counter("tollgate_media_jobs_asset_bytes", "Bytes of stored results.", registry=registry)
