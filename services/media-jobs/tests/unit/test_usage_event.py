"""The usage event of a job whose clock is set while it runs."""

from dataclasses import replace

import pytest
from media_jobs_fakes.bench import Bench, answer, command

from tollgate.events.v1 import usage_pb2 as events

pytestmark = pytest.mark.unit

HOUR_US = 3600 * 10**6


async def test_no_job_ends_before_it_was_created():
    """Another process may have made it, by another clock; billing takes no event that ended long before its start."""
    bench = Bench()
    bench.provider.script = [answer()]
    job = await bench.create(command())
    bench.memory.jobs[job.id] = replace(job, created_at_us=job.created_at_us + 2 * HOUR_US)
    await bench.work()
    await bench.publish.send()
    (event,) = [events.UsageRecorded.FromString(payload) for _, _, payload in bench.event_log.sent]
    assert event.started_at_us == event.ended_at_us
    assert (event.timings.total_us, event.charge_pico > 0) == (0, True)
