"""Which traces of jobs are kept: of what failed or took a second call all, of the others a share."""

import random

import pytest
from media_jobs_fakes.bench import TRACEPARENT, Bench, answer, command
from media_jobs_fakes.images import png

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.events.v1 import usage_pb2 as events
from tollgate_kit.tracing import is_sampled
from tollgate_media_jobs.errors import Failure, Refused

pytestmark = pytest.mark.unit

SPANS = ["media.attempt", "media.job", "usage.recorded.v1 send"]
_BUSY = Failure(errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, "busy")
BUSY = Refused(_BUSY, detail="429", status=429, elsewhere=True, again_seconds=1.0)
NO = Refused(Failure(errors.ERROR_KIND_INVALID_REQUEST, "no", "size"), detail="400", status=400)


class Recorded:
    """Keeps the names of spans."""

    enabled = True

    def __init__(self):
        self.names, self.spans = [], []

    def record(self, record):
        self.names.append(record.name)
        self.spans.append(record.span)


async def ran(ratio, *script, traceparent=TRACEPARENT):
    """Runs one job to its end; returns (trace_kept, names of spans), each in the order of their coming."""
    bench = Bench()
    bench.trace_sample_ratio, bench.tracing = ratio, Recorded()
    bench.build()
    bench.provider.script = list(script)
    await bench.create(command(traceparent=traceparent))
    while not bench.job().ended:
        await bench.work()
        bench.clock.advance(60)
    await bench.publish.send()
    sent = [events.UsageRecorded.FromString(payload) for _, _, payload in bench.event_log.sent]
    assert all(event.traceparent for event in sent) is bool(traceparent)
    return [event.trace_kept for event in sent], bench.tracing.names


@pytest.mark.parametrize(("ratio", "kept"), [(1.0, True), (0.0, False)])
async def test_of_jobs_that_succeed_at_once_a_share_is_kept(ratio, kept):
    found, spans = await ran(ratio, answer(png(2, 2), png(2, 2, 9)))
    assert found == [kept]
    assert spans == (SPANS if kept else [])


async def test_a_job_that_failed_is_kept_whatever_the_share():
    found, spans = await ran(0.0, NO)
    assert found == [True]
    assert spans == SPANS


async def test_a_second_call_is_kept_with_the_first():
    found, spans = await ran(0.0, BUSY, answer(png(2, 2), png(2, 2, 9)))
    assert found[-1] is True
    assert spans.count("media.attempt") == 2
    assert "media.job" in spans


async def test_a_job_without_a_trace_keeps_none():
    found, spans = await ran(1.0, NO, traceparent="")
    assert (found, spans) == ([False], [])


def test_a_share_of_traces_is_the_same_share_everywhere():
    traces = [f"{random.getrandbits(128):032x}" for _ in range(4000)]
    kept = {trace for trace in traces if is_sampled(trace, 0.25)}
    assert 800 < len(kept) < 1200
    assert kept <= {trace for trace in traces if is_sampled(trace, 0.5)}
    assert not any(is_sampled(trace, 0) for trace in traces)
    assert all(is_sampled(trace, 1) for trace in traces)


async def test_ids_of_spans_are_drawn_from_the_chance_that_is_handed_in():
    drawn = []
    for _ in range(2):
        bench = Bench()
        bench.tracing = Recorded()
        bench.build()
        bench.provider.script = [answer()]
        await bench.create(command())
        while not bench.job().ended:
            await bench.work()
        await bench.publish.send()
        drawn.append(bench.tracing.spans)
    assert len(set(drawn[0])) == 3
    assert drawn[0] == drawn[1]
