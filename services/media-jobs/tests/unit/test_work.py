"""The worker's loop on a clock that is moved: what it takes, and what it leaves alone."""

import asyncio

import pytest
from media_jobs_fakes.bench import GRACE_US, OWNER, Bench, answer, command

from tollgate_media_jobs.domain.states import JobState
from tollgate_media_jobs.use_cases.notices import Bell
from tollgate_media_jobs.use_cases.work import Worker

pytestmark = pytest.mark.unit

LEASE_SECONDS = 15


async def test_a_worker_whose_leases_ran_out_takes_none_of_its_own_jobs_again():
    bench, arrived, asked = Bench(), asyncio.Event(), asyncio.Event()

    async def slowly():
        asked.set()
        await arrived.wait()
        return answer()

    bench.provider.script = [slowly]
    worker = Worker(
        owner=OWNER,
        queue=bench.queue,
        run=bench.run,
        bell=Bell(),
        clock=bench.clock,
        max_running=4,
        lease_seconds=LEASE_SECONDS,
        idle_poll_seconds=0.001,
    )
    await bench.create(command())
    await worker.step()
    await asked.wait()
    # The process stands still, or its database is away: nothing renews the lease, and the provider goes on drawing.
    for _ in range(3):
        bench.clock.advance(LEASE_SECONDS + GRACE_US / 1e6)
        await worker.step()
    assert (worker.running, bench.job().state) == (1, JobState.SUBMITTING)
    arrived.set()
    await worker.drain(60)
    assert (worker.running, bench.job().state) == (0, JobState.SUCCEEDED)
    assert len(bench.provider.calls) == 1
