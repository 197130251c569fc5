"""Makes transitions, and does what follows a commit: metrics, spans, waking who waits, cleaning up."""

import logging
from collections.abc import Callable
from dataclasses import replace

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.clock import Clock
from tollgate_kit.tracing import SpanRecord, Tracing, format_traceparent, parse_traceparent
from tollgate_media_jobs.domain.job import Attempt, Billing, Job, Move, moved
from tollgate_media_jobs.domain.states import JobState, Trigger
from tollgate_media_jobs.errors import BlobsUnavailable, Failure, HoldsUnavailable
from tollgate_media_jobs.ports import Blobs, Failpoints, Holds, Jobs
from tollgate_media_jobs.telemetry import KIND_ATTEMPT, KIND_JOB, SPAN_ATTEMPT, SPAN_JOB, Metrics
from tollgate_media_jobs.use_cases.notices import Bell, Notices
from tollgate_media_jobs.use_cases.usage_event import job_traceparent, keeps_trace, kind_name, no_bill, usage_message

log = logging.getLogger(__name__)


def staging_prefix(job_id: str) -> str:
    """Returns below which keys a job's results wait to be checked."""
    return f"staging/{job_id}/"


class Moves:
    def __init__(
        self,
        *,
        jobs: Jobs,
        blobs: Blobs,
        holds: Holds,
        clock: Clock,
        notices: Notices,
        outbox_bell: Bell,
        metrics: Metrics,
        tracing: Tracing,
        trace_sample_ratio: float,
        failpoints: Failpoints,
    ) -> None:
        self._jobs = jobs
        self._blobs = blobs
        self._holds = holds
        self._clock = clock
        self._notices = notices
        self._outbox_bell = outbox_bell
        self._metrics = metrics
        self._tracing = tracing
        self.trace_sample_ratio = trace_sample_ratio
        self._failpoints = failpoints

    async def make(self, move: Move) -> Job | None:
        """Writes a transition; None when another worker was first."""
        if not await self._jobs.move(move):
            self._metrics.lost_races.inc()
            log.info("another worker was first", extra={"fields": {"job": move.before.id, "reason": move.reason}})
            return None
        fields = {"job": move.after.id, "state": move.after.state.name.lower(), "reason": move.reason}
        log.info("job moved", extra={"fields": fields})
        if move.messages:
            self._failpoints.reach("after_end" if move.after.ended else "after_event")
            self._outbox_bell.ring()
        if move.attempt is not None and move.attempt.ended_at_us:
            self._attempt_ended(move.after, move.attempt)
        if move.after.ended:
            await self._finish(move)
            await self._ended(move.after)
        return move.after

    async def make_for_attempt(self, job: Job, attempt: Attempt, move_of: Callable[[Job], Move | None]) -> Job | None:
        """Like `make`, for what a call brought: it still counts when others have meanwhile given the call up for lost.

        `move_of` may return None: then there is nothing to do from where the job is.
        """
        current: Job | None = job
        while current is not None and current.attempt == attempt.number and current.state in _OPEN:
            move = move_of(current)
            if move is None:
                return None
            done = await self.make(move)
            if done is not None:
                return done
            current = await self._jobs.get(job.tenant.organization_id, "", job.id)
        if current is not None and current.ended and current.attempt == attempt.number:
            self._metrics.late_answers.inc()
            await self._jobs.note_late_answer(current, self._clock.now_us(), attempt.outcome)
        return None

    async def fail(
        self,
        job: Job,
        trigger: Trigger,
        failure: Failure,
        *,
        reason: str,
        outcome: wire.Outcome,
        attempt: Attempt | None = None,
    ) -> Job | None:
        """Ends a job without a charge: the event of charge 0 makes billing release the hold."""
        return await self.make(
            self.failed(job, trigger, failure, reason=reason, outcome=outcome, attempt=attempt),
        )

    def failed(
        self,
        job: Job,
        trigger: Trigger,
        failure: Failure,
        *,
        reason: str,
        outcome: wire.Outcome,
        attempt: Attempt | None,
    ) -> Move:
        """Returns the transition that `fail` makes."""
        now = self._clock.now_us()
        after = moved(job, trigger, failure=failure, ended_at_us=now, billing=Billing.RELEASED, charge_pico=0)
        event = usage_message(
            after,
            attempt,
            no_bill(),
            outcome=outcome,
            final=True,
            ended_at_us=now,
            sample_ratio=self.trace_sample_ratio,
        )
        return Move(job, after, now, reason, attempt=attempt, messages=(event,))

    async def _finish(self, move: Move) -> None:
        """Gives back the job's places before anybody is told of its end.

        What is lost here expires: places by themselves, the hold when billing books the event.
        """
        tokens = sum(move.attempt.reported.tokens.values()) if move.attempt is not None else 0
        try:
            await self._holds.finish(move.after, tokens)
        except HoldsUnavailable as error:
            log.warning("a job's places stay", extra={"fields": {"job": move.after.id, "error": str(error)}})

    async def _ended(self, job: Job) -> None:
        error = kind_name(job.failure.kind) if job.failure and job.state is JobState.FAILED else ""
        self._metrics.ended.labels(job.state.name.lower(), error).inc()
        self._metrics.seconds.observe((job.ended_at_us - job.created_at_us) / 1e6)
        self._record_job(job, error)
        self._notices.ended(job.id)
        try:
            await self._blobs.remove_below(staging_prefix(job.id))
        except BlobsUnavailable as error_:
            log.warning("staged results stay", extra={"fields": {"job": job.id, "error": str(error_)}})

    def _record_job(self, job: Job, error: str) -> None:
        parent = parse_traceparent(job.traceparent)
        if parent is None or not self._tracing.enabled or not keeps_trace(job, self.trace_sample_ratio):
            return
        attributes: dict[str, str | int] = {
            "gen_ai.operation.name": "generate_image",
            "gen_ai.request.model": job.model,
            "tollgate.job": job.id,
            "tollgate.request": job.request_id,
            "tollgate.attempt": job.attempt,
            "tollgate.charge_pico": job.charge_pico,
        }
        self._tracing.record(
            SpanRecord(
                name=SPAN_JOB,
                span=job_traceparent(job),
                parent_span_id=parent[1],
                start_us=job.created_at_us,
                end_us=job.ended_at_us,
                kind=KIND_JOB,
                attributes=attributes,
                error=error,
            )
        )

    def _attempt_ended(self, job: Job, attempt: Attempt) -> None:
        if attempt.outcome == "answered" and job.state is not JobState.INGESTING:
            return  # It was counted when the answer came.
        self._metrics.attempts.labels(attempt.channel, attempt.outcome).inc()
        parent = parse_traceparent(job.traceparent)
        if parent is None or not self._tracing.enabled:
            return
        if attempt.outcome == "answered" and not keeps_trace(job, self.trace_sample_ratio):
            return
        self._tracing.record(
            SpanRecord(
                name=SPAN_ATTEMPT,
                span=format_traceparent(parent[0], attempt.span_id, sampled=True),
                parent_span_id=job.span_id,
                start_us=attempt.started_at_us,
                end_us=attempt.ended_at_us,
                kind=KIND_ATTEMPT,
                attributes={
                    "gen_ai.operation.name": "generate_image",
                    "gen_ai.provider.name": attempt.provider,
                    "gen_ai.request.model": job.model,
                    "gen_ai.response.model": attempt.upstream_model,
                    "tollgate.channel": attempt.channel,
                    "tollgate.attempt": attempt.number,
                    "http.response.status_code": attempt.status,
                },
                error="" if attempt.outcome == "answered" else attempt.outcome,
            )
        )


_OPEN = frozenset({JobState.SUBMITTING, JobState.SUBMIT_UNKNOWN})


def ended_attempt(
    attempt: Attempt, at_us: int, outcome: str, *, status: int, kind: int = 0, detail: str = ""
) -> Attempt:
    """Returns the attempt with what came of it."""
    return replace(attempt, ended_at_us=at_us, outcome=outcome, status=status, error_kind=kind, detail=detail[:500])
