"""Sends a queued job to a provider: never without money held, never without a committed attempt, never twice."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.clock import Clock
from tollgate_kit.tracing import new_span_id
from tollgate_media_jobs.domain.channels import Levels, Target, choose
from tollgate_media_jobs.domain.job import Attempt, Job, Move, Output, moved
from tollgate_media_jobs.domain.states import JobState, Trigger
from tollgate_media_jobs.errors import AnswerLost, BlobsUnavailable, Failure, HoldsUnavailable, Refused
from tollgate_media_jobs.ports import Answer, Blobs, Failpoints, Holds, HoldState, ImageProvider, Queue, Versions
from tollgate_media_jobs.use_cases.moves import Moves, ended_attempt, staging_prefix
from tollgate_media_jobs.use_cases.usage_event import no_bill, usage_message

_PAUSE_US = 1_000_000
_LONGEST_PAUSE_SECONDS = 60.0

_OUTCOME_UNKNOWN = Failure(
    errors.ERROR_KIND_UPSTREAM_CUT,
    "The provider's answer was lost and it cannot be asked again without the risk of doing the work twice. "
    "Nothing is charged; create a new job to try again.",
    code="provider_outcome_unknown",
)


class SubmitJob:
    def __init__(
        self,
        *,
        owner: str,
        queue: Queue,
        moves: Moves,
        blobs: Blobs,
        holds: Holds,
        versions: Versions,
        provider: ImageProvider,
        clock: Clock,
        random_source: random.Random,
        failpoints: Failpoints,
        max_attempts: int,
        unknown_grace_seconds: float,
    ) -> None:
        self._owner = owner
        self._queue = queue
        self._moves = moves
        self._blobs = blobs
        self._holds = holds
        self._versions = versions
        self._provider = provider
        self._clock = clock
        self._random = random_source
        self._failpoints = failpoints
        self._max_attempts = max_attempts
        self._grace_us = round(unknown_grace_seconds * 1e6)
        self._calls: Counter[str] = Counter()

    async def submit(self, job: Job) -> Job | None:
        """Takes a QUEUED job; returns it where it is INGESTING now."""
        if self._clock.now_us() >= job.deadline_at_us:
            failure = job.failure or Failure(errors.ERROR_KIND_DEADLINE, "No provider took the job in time.")
            await self._give_up(job, failure, "deadline", wire.OUTCOME_TIMEOUT)
            return None
        levels = self._levels(job)
        if levels is None:
            await self._later(job, _PAUSE_US)
            return None
        target = choose(levels, job.tried, self._busy(levels), self._random)
        if target is None:
            await self._nobody(job, levels)
            return None
        files = await self._files(job) if await self._money_is_held(job) else None
        if files is None:
            return None
        attempt = Attempt(
            job_id=job.id,
            number=job.attempt + 1,
            channel=target.channel.name,
            provider=target.channel.provider,
            upstream_model=target.upstream_model,
            private_network=target.channel.private_network,
            span_id=new_span_id(self._random),
            started_at_us=self._clock.now_us(),
        )
        after = moved(job, Trigger.SUBMIT, attempt=attempt.number)
        submitting = await self._moves.make(
            Move(job, after, attempt.started_at_us, "submit", attempt=attempt, keep_lease=True)
        )
        if submitting is None:
            return None
        self._failpoints.reach("after_attempt")
        return await self._call(submitting, attempt, target, files)

    async def abandon(self, job: Job) -> None:
        """Takes a SUBMITTING job whose worker fell silent: nobody knows what the provider did."""
        now = self._clock.now_us()
        after = moved(job, Trigger.ANSWER_LOST, next_at_us=now + self._grace_us)
        await self._moves.make(Move(job, after, now, "worker_lost"))

    async def resolve(self, job: Job, attempt: Attempt | None) -> None:
        """Takes a SUBMIT_UNKNOWN job whose time is over.

        This wire has no way to look for what was asked, so that the inspection ends here: failed, without a charge.
        """
        closed = attempt
        if attempt is not None and not attempt.ended_at_us:
            closed = ended_attempt(
                attempt, self._clock.now_us(), "lost", status=0, kind=_OUTCOME_UNKNOWN.kind, detail="the worker is gone"
            )
        await self._moves.fail(
            job,
            Trigger.GIVE_UP,
            _OUTCOME_UNKNOWN,
            reason="outcome_unknown",
            outcome=wire.OUTCOME_UPSTREAM_CUT,
            attempt=closed,
        )

    def _levels(self, job: Job) -> Levels | None:
        version = self._versions.current()
        return None if version is None else version.levels(job.tenant.route_group, job.model)

    def _busy(self, levels: Levels) -> set[str]:
        return {
            target.channel.name
            for level in levels
            for target in level
            if target.channel.concurrency is not None and self._calls[target.channel.name] >= target.channel.concurrency
        }

    async def _nobody(self, job: Job, levels: Levels) -> None:
        if choose(levels, job.tried, (), self._random) is not None:
            await self._later(job, _PAUSE_US)
            return
        failure = job.failure or Failure(
            errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, "No channel serves this model any more; nothing is charged."
        )
        await self._give_up(job, failure, "no_channel", wire.OUTCOME_REFUSED)

    async def _money_is_held(self, job: Job) -> bool:
        try:
            state = await self._holds.renew(job)
        except HoldsUnavailable:
            await self._later(job, _PAUSE_US)
            return False
        if state is HoldState.HELD:
            return True
        failure = Failure(
            errors.ERROR_KIND_UNAVAILABLE,
            "The credit set aside for this job was released before it began.",
            code="hold_gone",
        )
        await self._give_up(job, failure, "hold_gone", wire.OUTCOME_REFUSED)
        return False

    async def _give_up(self, job: Job, failure: Failure, reason: str, outcome: wire.Outcome) -> None:
        await self._moves.fail(job, Trigger.GIVE_UP, failure, reason=reason, outcome=outcome)

    async def _later(self, job: Job, pause_us: int) -> None:
        await self._queue.let_go(self._owner, job.id, self._clock.now_us() + pause_us, ingest_failed=False)

    async def _files(self, job: Job) -> list[bytes] | None:
        """Returns the bytes of the pictures to begin from; None where they cannot be had now, or are gone for good."""
        files = []
        for source in job.image.sources:
            try:
                data = await self._blobs.get(source.key)
            except BlobsUnavailable:
                await self._later(job, _PAUSE_US)
                return None
            if data is None:
                failure = Failure(
                    errors.ERROR_KIND_UNAVAILABLE, "The pictures of this job are gone; nothing is charged."
                )
                await self._give_up(job, failure, "sources_gone", wire.OUTCOME_REFUSED)
                return None
            files.append(data)
        return files

    async def _call(self, job: Job, attempt: Attempt, target: Target, files: Sequence[bytes]) -> Job | None:
        channel = target.channel.name
        self._calls[channel] += 1
        try:
            answer = await self._provider.generate(target, job.image, files)
        except Refused as refused:
            await self._refused(job, attempt, refused)
            return None
        except AnswerLost as lost:
            await self._lost(job, attempt, lost)
            return None
        finally:
            self._calls[channel] -= 1
        self._failpoints.reach("after_answer")
        return await self._answered(job, attempt, answer)

    async def _answered(self, job: Job, attempt: Attempt, answer: Answer) -> Job | None:
        now = self._clock.now_us()
        closed = ended_attempt(attempt, now, "answered", status=answer.status)
        try:
            outputs = await self._stage(job, attempt, answer)
        except BlobsUnavailable as error:
            failure = Failure(errors.ERROR_KIND_UNAVAILABLE, "The result could not be stored; nothing is charged.")
            broken = replace(closed, outcome="unstored", error_kind=failure.kind, detail=str(error)[:500])
            await self._moves.make_for_attempt(
                job,
                broken,
                lambda current: self._moves.failed(
                    current,
                    Trigger.REFUSED,
                    failure,
                    reason="unstored",
                    outcome=wire.OUTCOME_UPSTREAM_ERROR,
                    attempt=broken,
                ),
            )
            return None
        self._failpoints.reach("after_stage")
        kept = replace(closed, outputs=tuple(outputs), reported=answer.reported)

        def answered(current: Job) -> Move:
            after = moved(current, Trigger.ANSWERED, failure=None, next_at_us=now, ingest_tries=0)
            return Move(current, after, now, "answered", attempt=kept, keep_lease=True)

        ingesting = await self._moves.make_for_attempt(job, kept, answered)
        self._failpoints.reach("after_answered")
        return ingesting

    async def _stage(self, job: Job, attempt: Attempt, answer: Answer) -> Sequence[Output]:
        outputs = []
        for index, drawn in enumerate(answer.drawn):
            if drawn.url:
                outputs.append(Output(index, url=drawn.url))
                continue
            key = f"{staging_prefix(job.id)}{attempt.number}/{index}"
            await self._blobs.put(key, drawn.data, "application/octet-stream")
            outputs.append(Output(index, staged_key=key))
        return outputs

    async def _refused(self, job: Job, attempt: Attempt, refused: Refused) -> None:
        now = self._clock.now_us()
        closed = ended_attempt(
            attempt, now, "refused", status=refused.status, kind=refused.failure.kind, detail=refused.detail
        )

        def move_of(current: Job) -> Move:
            retry = self._retry(current, closed, refused, now)
            return retry or self._moves.failed(
                current,
                Trigger.REFUSED,
                refused.failure,
                reason="refused",
                outcome=wire.OUTCOME_UPSTREAM_ERROR,
                attempt=closed,
            )

        await self._moves.make_for_attempt(job, closed, move_of)

    def _retry(self, job: Job, attempt: Attempt, refused: Refused, now: int) -> Move | None:
        """Returns the way back into the queue, if another channel or a pause can help."""
        if attempt.number >= self._max_attempts:
            return None
        tried = (*job.tried, attempt.channel)
        levels = self._levels(job) or ()
        if refused.elsewhere and choose(levels, tried, (), self._random) is not None:
            due, reason = now, "try_elsewhere"
        elif refused.again_seconds is not None:
            pause = min(max(refused.again_seconds, 2.0 ** (attempt.number - 1)), _LONGEST_PAUSE_SECONDS)
            due, tried, reason = now + round(pause * 1e6), job.tried, "try_again"
        else:
            return None
        after = moved(job, Trigger.TRY_ANOTHER, failure=refused.failure, tried=tried, next_at_us=due)
        event = usage_message(
            after,
            attempt,
            no_bill(),
            outcome=wire.OUTCOME_UPSTREAM_ERROR,
            final=False,
            ended_at_us=now,
            sample_ratio=self._moves.trace_sample_ratio,
        )
        return Move(job, after, now, reason, attempt=attempt, messages=(event,))

    async def _lost(self, job: Job, attempt: Attempt, lost: AnswerLost) -> None:
        now = self._clock.now_us()
        outcome = "timed_out" if lost.timed_out else "lost"
        closed = ended_attempt(
            attempt, now, outcome, status=lost.status, kind=_OUTCOME_UNKNOWN.kind, detail=lost.detail
        )

        def move_of(current: Job) -> Move | None:
            if current.state is JobState.SUBMIT_UNKNOWN:
                return None
            after = moved(current, Trigger.ANSWER_LOST, next_at_us=now)
            return Move(current, after, now, outcome, attempt=closed, keep_lease=True)

        unknown = await self._moves.make_for_attempt(job, closed, move_of)
        if unknown is not None:
            self._failpoints.reach("after_lost")
            await self.resolve(unknown, closed)
