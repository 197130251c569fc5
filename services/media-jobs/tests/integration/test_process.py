"""media-jobs as a process, over both databases: a job from end to end, and whatever is killed in between."""

import asyncio
import hashlib

import grpc
import pytest

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.media.v1 import media_pb2 as media
from tollgate_kit.grpc_io import error_from

pytestmark = pytest.mark.integration

DOLLAR = 10**12
LOW = 11_000_000_000


async def test_a_job_from_end_to_end(media_jobs, provider, holds):
    await media_jobs.start()
    job = await media_jobs.create("a red fox", count=2)
    assert job.state == media.JOB_STATE_QUEUED
    done = await media_jobs.wait(job.id)
    assert done.state == media.JOB_STATE_SUCCEEDED, media_jobs.text()
    assert [asset.content_type for asset in done.assets] == ["image/png", "image/png"]
    assert [(asset.index, asset.width, asset.height) for asset in done.assets] == [(0, 4, 4), (1, 4, 4)]
    for asset in done.assets:
        head, *pieces = await media_jobs.read(asset.id)
        data = b"".join(piece.data for piece in pieces)
        assert head.asset == asset
        assert hashlib.sha256(data).hexdigest() == asset.sha256
        assert len(data) == asset.size_bytes
    (submit,) = provider.submits("a red fox")
    assert {name: submit[name] for name in ("path", "model", "n", "size", "quality")} == {
        "path": "/images/generations", "model": "our-painter", "n": 2, "size": "1024x1024", "quality": "low",
    }  # fmt: skip
    (event,) = await media_jobs.events(1)
    assert (event.final, event.status, event.replay) == (True, events.EVENT_STATUS_CONFIRMED, False)
    assert (event.request_id, event.media_job_id, event.attempt) == ("req_1", job.id, 1)
    assert [(one.size, one.quality, one.count) for one in event.usage.images] == [("1024x1024", "low", 2)]
    assert event.usage.input_tokens == 7
    assert event.charge_pico == done.charge_pico == 2 * LOW + 7 * 5_000_000
    assert event.traceparent.split("-")[1] == "0123456789abcdef0123456789abcdef"
    assert (await holds.balance("org_a")).held > event.charge_pico
    # They go once the end has been told.
    await media_jobs.stop()
    assert not list((media_jobs.directory / "assets" / "staging").rglob("*.*"))


async def test_assets_and_jobs_are_for_their_owner_alone(media_jobs):
    await media_jobs.start()
    done = await media_jobs.wait((await media_jobs.create("a red fox")).id)
    for organization, project in (("org_b", "proj_a"), ("org_a", "proj_b"), ("", "")):
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await media_jobs.read(done.assets[0].id, organization, project)
        assert error_from(found.value).kind in {errors.ERROR_KIND_NOT_FOUND, errors.ERROR_KIND_FORBIDDEN}


async def test_without_money_nothing_is_created(media_jobs, holds, provider):
    await holds.rebuild("org_a", 1)
    await media_jobs.start()
    with pytest.raises(grpc.aio.AioRpcError) as found:
        await media_jobs.create("a red fox")
    assert error_from(found.value).kind == errors.ERROR_KIND_INSUFFICIENT_QUOTA
    assert not await media_jobs.jobs()
    assert not provider.ledger


async def test_one_key_makes_one_job_and_one_hold(media_jobs, holds, provider):
    await media_jobs.start()
    replies = await asyncio.gather(
        *(media_jobs.create("wait: a fox", f"req_{number}", idempotency_key="once") for number in range(20))
    )
    assert len({job.id for job in replies}) == 1
    held = int(await holds.pipe.call("HLEN", "{org_a}:holds"))
    assert held == 1
    with pytest.raises(grpc.aio.AioRpcError) as found:
        await media_jobs.create("another fox", "req_x", idempotency_key="once")
    assert error_from(found.value).kind == errors.ERROR_KIND_CONFLICT
    provider.release.set()
    await media_jobs.wait(replies[0].id)
    assert len(provider.submits("wait: a fox")) == 1


@pytest.mark.parametrize(
    ("prompt", "kind", "submits"),
    [
        ("cut: a fox", errors.ERROR_KIND_UPSTREAM_CUT, 1),
        ("half: a fox", errors.ERROR_KIND_UPSTREAM_CUT, 1),
        ("bare: a fox", errors.ERROR_KIND_UPSTREAM_CUT, 1),
        ("invalid: a fox", errors.ERROR_KIND_INVALID_REQUEST, 1),
        ("rubbish: a fox", errors.ERROR_KIND_UPSTREAM_PROTOCOL, 1),
        ("page: http://169.254.169.254/latest", errors.ERROR_KIND_UPSTREAM_PROTOCOL, 1),
    ],
)
async def test_a_failed_job_costs_nothing_and_is_not_sent_again(media_jobs, provider, prompt, kind, submits):
    await media_jobs.start()
    done = await media_jobs.wait((await media_jobs.create(prompt)).id)
    assert (done.state, done.error.kind, done.charge_pico) == (media.JOB_STATE_FAILED, kind, 0)
    assert len(provider.submits(prompt)) == submits
    (event,) = await media_jobs.events(1)
    assert (event.final, event.charge_pico, list(event.usage.images)) == (True, 0, [])
    assert event.outcome != wire.OUTCOME_OK
    for secret in ("internal.example", "org-abcdef"):
        assert secret not in done.error.message


# Where the process is killed, and what must have come of it after a restart: (submits, job ends as).
KILLS = {
    "after_hold": (0, None),
    "after_create": (1, media.JOB_STATE_SUCCEEDED),
    "after_attempt": (0, media.JOB_STATE_FAILED),
    "after_answer": (1, media.JOB_STATE_FAILED),
    "after_stage": (1, media.JOB_STATE_FAILED),
    "after_answered": (1, media.JOB_STATE_SUCCEEDED),
    "after_asset": (1, media.JOB_STATE_SUCCEEDED),
    "after_assets": (1, media.JOB_STATE_SUCCEEDED),
    "after_end": (1, media.JOB_STATE_SUCCEEDED),
    "after_take": (1, media.JOB_STATE_SUCCEEDED),
    "after_send": (1, media.JOB_STATE_SUCCEEDED),
}


@pytest.mark.parametrize("place", KILLS)
async def test_killed_anywhere_there_is_one_charge_or_none(media_jobs, provider, place):
    submits, state = KILLS[place]
    await media_jobs.start(failpoint=place, outbox_lease_seconds=0.5)
    await media_jobs.create_unheard("link: a fox")
    assert await media_jobs.ended() == -9
    await media_jobs.start(outbox_lease_seconds=0.5)
    found = await media_jobs.jobs()
    if state is None:
        assert not found
        return
    done = await media_jobs.wait(found[0].id)
    assert done.state == state, media_jobs.text()
    assert len(provider.submits("link: a fox")) == submits
    recorded = await media_jobs.events(2 if place == "after_send" else 1)
    assert len({event.event_id for event in recorded}) == 1
    assert all(event.final and event.charge_pico == done.charge_pico for event in recorded)
    # An event whose first sending may have come through says so; the others may, when the log was slow to begin.
    if place in {"after_send", "after_take"}:
        assert recorded[-1].replay
    if state == media.JOB_STATE_FAILED:
        assert done.charge_pico == 0
        assert done.error.code == "provider_outcome_unknown"
    else:
        assert done.charge_pico == LOW
        assert len(done.assets) == 1


# The same where the provider does not answer: what it is asked, how often, and the code of the job's error.
KILLS_ON_THE_WAY = {
    "after_lost": ("cut: a fox", 1, "provider_outcome_unknown"),
    "after_event": ("busy: a fox", 2, None),
}


@pytest.mark.parametrize("place", KILLS_ON_THE_WAY)
async def test_killed_on_the_way_a_failed_job_costs_nothing(media_jobs, provider, holds, place):
    prompt, submits, code = KILLS_ON_THE_WAY[place]
    await media_jobs.start(failpoint=place, outbox_lease_seconds=0.5)
    await media_jobs.create_unheard(prompt)
    assert await media_jobs.ended() == -9
    await media_jobs.start(outbox_lease_seconds=0.5)
    (job,) = await media_jobs.jobs()
    done = await media_jobs.wait(job.id)
    assert (done.state, done.charge_pico) == (media.JOB_STATE_FAILED, 0), media_jobs.text()
    assert code in {None, done.error.code}
    assert len(provider.submits(prompt)) >= submits
    finals = [event for event in await media_jobs.events(submits) if event.final]
    assert len({event.event_id for event in finals}) == 1
    assert finals[0].charge_pico == 0


async def test_killed_while_the_provider_draws_it_is_never_asked_again(media_jobs, provider):
    await media_jobs.start()
    job = await media_jobs.create("wait: a fox")
    assert await asyncio.to_thread(provider.arrived.wait, 60)
    await media_jobs.kill()
    await media_jobs.start()
    provider.release.set()
    done = await media_jobs.wait(job.id)
    assert (done.state, done.error.code) == (media.JOB_STATE_FAILED, "provider_outcome_unknown")
    assert len(provider.submits("wait: a fox")) == 1
