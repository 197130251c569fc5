"""Rates an attempt and appends its usage event to the spool; says when edge has acknowledged it."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.trace import SpanKind

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.clock import Clock
from tollgate_kit.ids import event_id
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool
from tollgate_kit.tracing import SpanRecord, Tracing, format_traceparent, new_span_id, parse_traceparent
from tollgate_rating import RatingError, Unpriced
from tollgate_router.telemetry import SPAN_ATTEMPT, SPAN_PUBLISH

if TYPE_CHECKING:
    from tollgate_router.domain.snapshot import Snapshot, Target

# Protobuf messages concatenate: the status that is known last is appended to the spooled bytes.
_CONFIRMED: Final = events.UsageRecorded(status=events.EVENT_STATUS_CONFIRMED).SerializeToString()
_UNCONFIRMED: Final = events.UsageRecorded(status=events.EVENT_STATUS_UNCONFIRMED).SerializeToString()
_CONFIRMED_REPLAY: Final = events.UsageRecorded(status=events.EVENT_STATUS_CONFIRMED, replay=True).SerializeToString()
_UNCONFIRMED_REPLAY: Final = events.UsageRecorded(
    status=events.EVENT_STATUS_UNCONFIRMED, replay=True
).SerializeToString()


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What came of one upstream call. `usage` holds exclusive units by name; None where nothing is known."""

    target: "Target | None"
    number: int
    final: bool
    outcome: int
    upstream_status: int
    error_kind: int
    usage: Mapping[str, int]
    estimated: bool
    started_us: int
    first_byte_us: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event in the spool that waits for its status. `traceparent` is empty when its trace is not kept."""

    sequence: int
    key: bytes
    payload: bytes
    traceparent: bytes


class Recorder:
    """One per process; the only writer of the spool."""

    def __init__(
        self,
        *,
        spool: Spool,
        publisher: Publisher,
        clock: Clock,
        tracing: Tracing,
        sample_ratio: float,
        random_source: random.Random,
        slow_us: int,
    ) -> None:
        self.spool = spool
        self._publisher = publisher
        self._clock = clock
        self._tracing = tracing
        self._sample_ratio = sample_ratio
        self._random = random_source
        self._slow_us = slow_us
        self.unpriced = 0

    def publish_recovered(self) -> int:
        """Publishes what an earlier process of this slot left behind; returns how many events that were."""
        found = self.spool.recovered()
        for record in found:
            event = events.UsageRecorded.FromString(record.payload)
            suffix = _CONFIRMED_REPLAY if record.acknowledged else _UNCONFIRMED_REPLAY
            self._publish(_recorded(record.sequence, event, record.payload), suffix)
        return len(found)

    def keep_trace(self, *, failed: bool, attempts: int, total_us: int) -> bool:
        """Decides at a request's end whether its trace is kept."""
        if failed or attempts > 1 or total_us >= self._slow_us:
            return True
        return self._sample_ratio > 0 and self._random.random() < self._sample_ratio

    def record(
        self, opened: wire.Open, snapshot: "Snapshot | None", result: AttemptResult, *, trace_kept: bool
    ) -> tuple[Recorded, int, str]:
        """Appends the event of one attempt; returns it, the charge in pico-units and the price's digest."""
        ended = self._clock.now_us()
        target = result.target
        number_of_try = getattr(opened, "try")
        event = events.UsageRecorded(
            event_id=event_id(opened.request_id, number_of_try, result.number, events.EVENT_SOURCE_ROUTER),
            request_id=opened.request_id,
            attempt=result.number,
            source=events.EVENT_SOURCE_ROUTER,
            final=result.final,
            estimated=result.estimated,
            started_at_us=opened.started_at_us,
            ended_at_us=ended,
            tenant=opened.tenant,
            model=opened.model,
            dialect=opened.dialect,
            operation=opened.operation,
            stream=opened.stream,
            outcome=result.outcome,  # type: ignore[arg-type]
            upstream_status=result.upstream_status,
            usage=usage_message(result.usage),
            config_digest=snapshot.digest if snapshot is not None else "",
            traceparent=opened.traceparent,
            **cast("Any", {"try": number_of_try}),
        )
        if target is not None:
            event.upstream_model, event.provider, event.channel = target.upstream_model, target.provider, target.channel
        if result.error_kind:
            event.error_kind = kind_name(result.error_kind)
        self._rate(event, snapshot, result.usage)
        event.timings.upstream_started_us = result.started_us
        event.timings.first_byte_us = result.first_byte_us
        event.timings.total_us = max(0, ended - opened.started_at_us)
        if trace_kept:
            event.trace_kept = True
            if self._tracing.enabled:
                event.traceparent = self._record_span(opened, result, event)
        payload = event.SerializeToString()
        sequence = self.spool.append(payload)
        return _recorded(sequence, event, payload), event.charge_pico, event.price_digest

    def _rate(self, event: events.UsageRecorded, snapshot: "Snapshot | None", usage: Mapping[str, int]) -> None:
        if snapshot is None:
            return
        price = snapshot.price_table.find(event.model, event.tenant.price_group, event.started_at_us)
        if price is not None:
            event.price_digest, event.currency = price.digest, price.currency
        if not any(usage.values()):
            return
        try:
            if price is None:
                raise Unpriced(event.model)
            amount = price.rate(usage)
            event.charge_pico = amount if event.final else 0
            listed = snapshot.price_table.find(event.model, "", event.started_at_us)
            event.cost_pico = listed.rate(usage) if listed is not None else amount
        except RatingError:
            event.unpriced = True
            self.unpriced += 1

    def confirm(self, recorded: Recorded) -> None:
        """Edge has taken the End of this event's try."""
        self.spool.acknowledge(recorded.sequence)
        self._publish(recorded, _CONFIRMED)

    def give_up(self, recorded: Recorded) -> None:
        """The stream to edge broke before the Ack."""
        self._publish(recorded, _UNCONFIRMED)

    def _publish(self, recorded: Recorded, suffix: bytes) -> None:
        headers = ((("traceparent", recorded.traceparent),)) if recorded.traceparent else ()
        self._publisher.queue(recorded.sequence, recorded.key, recorded.payload + suffix, headers)

    def _record_span(self, opened: wire.Open, result: AttemptResult, event: events.UsageRecorded) -> str:
        parent = parse_traceparent(opened.traceparent)
        if parent is None:
            return opened.traceparent
        trace_id, parent_span, _ = parent
        own = format_traceparent(trace_id, new_span_id(), sampled=True)
        started = opened.started_at_us + result.started_us
        self._tracing.record(
            SpanRecord(
                name=SPAN_ATTEMPT,
                span=own,
                parent_span_id=parent_span,
                start_us=started,
                end_us=event.ended_at_us,
                kind=SpanKind.CLIENT,
                attributes={
                    "gen_ai.operation.name": "chat" if opened.operation == wire.OPERATION_CHAT else "embeddings",
                    "gen_ai.provider.name": event.provider,
                    "gen_ai.request.model": opened.model,
                    "gen_ai.response.model": event.upstream_model,
                    "gen_ai.usage.input_tokens": event.usage.input_tokens + event.usage.cache_read_tokens,
                    "gen_ai.usage.output_tokens": event.usage.output_tokens + event.usage.reasoning_tokens,
                    "tollgate.channel": event.channel,
                    "tollgate.attempt": result.number,
                    "http.response.status_code": result.upstream_status,
                },
                error=event.error_kind,
            )
        )
        return own

    def published(self, traceparent: bytes, queued_us: int, done_us: int) -> None:
        """Records the span of an event's way to the log; the publisher calls it for traces that are kept."""
        parent = parse_traceparent(traceparent.decode())
        if parent is None or not self._tracing.enabled:
            return
        self._tracing.record(
            SpanRecord(
                name=SPAN_PUBLISH,
                span=format_traceparent(parent[0], new_span_id(), sampled=True),
                parent_span_id=parent[1],
                start_us=queued_us,
                end_us=done_us,
                kind=SpanKind.PRODUCER,
                attributes={"messaging.operation.name": "send"},
            )
        )


def _recorded(sequence: int, event: events.UsageRecorded, payload: bytes) -> Recorded:
    traceparent = event.traceparent.encode() if event.trace_kept else b""
    return Recorded(sequence, event.request_id.encode(), payload, traceparent)


def usage_message(units: Mapping[str, int]) -> wire.Usage:
    """Returns exclusive units as a message; names are those of the fields without `_tokens`."""
    message = wire.Usage()
    for name, quantity in units.items():
        if quantity:
            setattr(message, name if name == "requests" else f"{name}_tokens", quantity)
    return message


def kind_name(kind: int) -> str:
    """Returns an ErrorKind's name without its prefix, in lower case."""
    return errors.ErrorKind.Name(kind).removeprefix("ERROR_KIND_").lower()
