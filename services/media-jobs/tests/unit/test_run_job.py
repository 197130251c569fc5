"""Running jobs over fakes: each way a call can go, and what a restart finds at each place."""

import asyncio

import pytest
from media_jobs_fakes.bench import DOLLAR, GRACE_US, Bench, answer, command, version
from media_jobs_fakes.images import png
from media_jobs_fakes.outside import Failpoints

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_media_jobs.domain.job import Billing
from tollgate_media_jobs.domain.states import JobState
from tollgate_media_jobs.errors import AnswerLost, Failure, FetchFailed, FetchRefused, Refused
from tollgate_rating import PriceBook

pytestmark = pytest.mark.unit

LOW = 11_000_000_000


def busy(**changes):
    failure = Failure(errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, "busy")
    return Refused(failure, **({"detail": "429", "status": 429, "elsewhere": True, "again_seconds": 1.0} | changes))


def invalid():
    return Refused(Failure(errors.ERROR_KIND_INVALID_REQUEST, "no", "size"), detail="400", status=400)


async def sent(bench):
    """Publishes the outbox; returns the events."""
    await bench.publish.send()
    return [events.UsageRecorded.FromString(payload) for _, _, payload in bench.event_log.sent]


async def settled(condition):
    """Lets other tasks run until `condition` holds; over fakes nothing takes longer than a few turns of the loop."""
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it never came to that")


async def started(*script, **changes):
    bench = Bench(**changes)
    bench.provider.script = list(script)
    await bench.create(command())
    return bench


def versions_are_gapless(bench):
    for job_id, rows in bench.memory.events.items():
        assert [row[0] for row in rows] == list(range(1, bench.memory.jobs[job_id].version + 1))


async def test_the_event_says_what_budgets_count_by_and_what_one_turned_the_job_from():
    bench = Bench()
    bench.provider.script = [answer(png(2, 2))]
    await bench.create(command(requested_model="gpt-image-dear"))
    await bench.work()
    (event,) = await sent(bench)
    assert (event.tenant.tags, event.tenant.member) == ("batch,search", "ada")
    assert (event.model, event.requested_model, event.fallback_reason) == ("gpt-image-1", "gpt-image-dear", "budget")


@pytest.mark.parametrize("marks", [("203.0.113.0/24", 2**64 - 1), ("", 1), ("", 0)])
async def test_the_event_says_where_the_job_came_from_and_what_repetitions_of_it_have_in_common(marks):
    bench = Bench()
    bench.provider.script = [answer(png(2, 2))]
    await bench.create(command(client_network=marks[0], prompt_hash=marks[1]))
    await bench.work()
    (event,) = await sent(bench)
    assert (event.client_network, event.prompt_hash) == marks


async def test_success_stores_settles_and_says_so_once():
    bench = await started(answer(png(2, 2), png(2, 2, 9), tokens={"input": 10}))
    await bench.work()
    job = bench.job()
    assert (job.state, job.billing, job.failure) == (JobState.SUCCEEDED, Billing.SETTLED, None)
    assert job.charge_pico == 2 * LOW + 10 * 5_000_000
    first, second = sorted(bench.memory.assets.values(), key=lambda asset: asset.index)
    assert bench.blobs.kept.keys() == {first.storage_key, second.storage_key}
    assert first.storage_key == f"assets/org_a/{first.sha256[:2]}/{first.sha256}.png"
    (event,) = await sent(bench)
    assert (event.final, event.outcome, event.attempt, event.charge_pico) == (True, wire.OUTCOME_OK, 1, job.charge_pico)
    assert (event.model, event.upstream_model, event.channel) == ("gpt-image-1", "up-gpt-image-1", "main")
    assert not await bench.work()
    assert [row[3] for row in bench.memory.events["job_1"]] == ["created", "submit", "answered", "stored"]
    versions_are_gapless(bench)


async def test_the_price_in_force_at_creation_counts_after_a_change():
    from media_jobs_fakes.bench import book

    bench = await started(answer())
    bench.versions.version = version(books=(book(**{"gpt-image-1": {"image": "9"}}),))
    await bench.work()
    assert bench.job().charge_pico == LOW


async def test_a_refusal_goes_to_another_channel_and_both_are_told():
    bench = Bench()
    bench.versions.version = version("one", "two")
    bench.provider.script = [busy(), answer()]
    await bench.create(command())
    while await bench.work():
        pass
    assert bench.job().state is JobState.SUCCEEDED
    channels = [channel for channel, _, _ in bench.provider.calls]
    assert sorted(channels) == ["one", "two"]
    refused, done = await sent(bench)
    assert (refused.final, refused.attempt, refused.charge_pico, refused.error_kind) == (
        False, 1, 0, "upstream_rate_limited",
    )  # fmt: skip
    assert (done.final, done.attempt, done.channel) == (True, 2, channels[1])
    assert refused.event_id != done.event_id


async def test_the_only_channel_is_asked_again_after_a_pause_and_not_for_ever():
    bench = await started(busy(), busy(again_seconds=5.0), busy())
    await bench.work()
    assert bench.job().state is JobState.QUEUED
    assert not await bench.work()
    bench.clock.advance(1)
    await bench.work()
    bench.clock.advance(4.9)
    assert not await bench.work()
    bench.clock.advance(0.2)
    await bench.work()
    job = bench.job()
    assert (job.state, job.failure.kind, job.billing) == (
        JobState.FAILED, errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, Billing.RELEASED,
    )  # fmt: skip
    assert len(bench.provider.calls) == 3
    assert [event.final for event in await sent(bench)] == [False, False, True]
    versions_are_gapless(bench)


async def test_what_the_caller_did_wrong_is_not_tried_again():
    bench = Bench()
    bench.versions.version = version("one", "two")
    bench.provider.script = [invalid()]
    await bench.create(command())
    await bench.work()
    job = bench.job()
    assert (job.state, job.failure) == (JobState.FAILED, Failure(errors.ERROR_KIND_INVALID_REQUEST, "no", "size"))
    (event,) = await sent(bench)
    assert (event.final, event.charge_pico, event.upstream_status) == (True, 0, 400)


@pytest.mark.parametrize(
    "lost", [AnswerLost("reset"), AnswerLost("slow", timed_out=True), AnswerLost("502", status=502)]
)
async def test_a_lost_answer_fails_without_a_charge_and_without_another_call(lost):
    bench = Bench()
    bench.versions.version = version("one", "two")
    bench.provider.script = [lost]
    await bench.create(command())
    await bench.work()
    job = bench.job()
    assert (job.state, job.failure.code, job.charge_pico) == (JobState.FAILED, "provider_outcome_unknown", 0)
    assert [row[2] for row in bench.memory.events["job_1"]] == [
        JobState.QUEUED, JobState.SUBMITTING, JobState.SUBMIT_UNKNOWN, JobState.FAILED,
    ]  # fmt: skip
    (event,) = await sent(bench)
    assert (event.final, event.charge_pico, event.outcome) == (True, 0, wire.OUTCOME_UPSTREAM_CUT)
    bench.clock.advance(3600)
    assert not await bench.work()
    assert len(bench.provider.calls) == 1


PLACES = {
    "after_attempt": (0, JobState.FAILED),
    "after_answer": (1, JobState.FAILED),
    "after_stage": (1, JobState.FAILED),
    "after_answered": (1, JobState.SUCCEEDED),
    "after_asset": (1, JobState.SUCCEEDED),
    "after_assets": (1, JobState.SUCCEEDED),
    "after_end": (1, JobState.SUCCEEDED),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_process_that_ends_anywhere_leaves_one_charge_or_none(place):
    calls, state = PLACES[place]
    bench = await started(answer(), stop=place)
    with pytest.raises(Failpoints.Reached):
        await bench.work()
    bench.restart()
    bench.clock.advance(16)
    await bench.work()
    bench.clock.advance(GRACE_US / 1e6 + 1)
    await bench.work()
    job = bench.job()
    assert job.state is state
    assert len(bench.provider.calls) == calls
    (event,) = await sent(bench)
    assert (event.final, event.charge_pico) == (True, LOW if state is JobState.SUCCEEDED else 0)
    assert len(bench.memory.assets) == (state is JobState.SUCCEEDED)
    assert not [key for key in bench.blobs.kept if key.startswith("staging/")] or place == "after_end"
    versions_are_gapless(bench)


async def given_up():
    """A job whose call has taken too long; the provider answers it once the event is set."""
    bench = await started()
    arrived = asyncio.Event()

    async def slowly():
        await arrived.wait()
        return answer()

    bench.provider.script = [slowly]
    call = asyncio.create_task(bench.work())
    await settled(lambda: bench.job().state is JobState.SUBMITTING)
    bench.clock.advance(16)
    await bench.work()
    return bench, arrived, call


async def test_an_answer_that_comes_while_the_call_is_given_up_for_lost_still_counts():
    bench, arrived, call = await given_up()
    assert bench.job().state is JobState.SUBMIT_UNKNOWN
    arrived.set()
    await call
    assert bench.job().state is JobState.SUCCEEDED
    assert [event.final for event in await sent(bench)] == [True]
    versions_are_gapless(bench)


async def test_an_answer_after_the_end_changes_nothing_and_is_written_down():
    bench, arrived, call = await given_up()
    bench.clock.advance(GRACE_US / 1e6 + 1)
    await bench.work()
    assert bench.job().state is JobState.FAILED
    arrived.set()
    await call
    job = bench.job()
    assert (job.state, job.charge_pico) == (JobState.FAILED, 0)
    assert bench.memory.events["job_1"][-1][3] == "late_answer"
    assert len(await sent(bench)) == 1
    assert not bench.memory.assets


async def test_without_its_hold_a_job_is_never_sent():
    bench = await started()
    bench.holds.expire("org_a", "req_1")
    await bench.work()
    assert (bench.job().state, bench.job().failure.code) == (JobState.FAILED, "hold_gone")
    assert not bench.provider.calls
    assert [event.final for event in await sent(bench)] == [True]


async def test_while_redis_is_away_a_job_waits():
    bench = await started(answer())
    bench.holds.away = True
    await bench.work()
    assert bench.job().state is JobState.QUEUED
    bench.holds.away = False
    bench.clock.advance(2)
    await bench.work()
    assert bench.job().state is JobState.SUCCEEDED


async def test_a_job_that_nobody_takes_ends_at_its_deadline():
    bench = await started()
    bench.versions.version = None
    await bench.work()
    bench.clock.advance(1801)
    await bench.work()
    assert (bench.job().state, bench.job().failure.kind) == (JobState.FAILED, errors.ERROR_KIND_DEADLINE)
    (event,) = await sent(bench)
    assert (event.outcome, event.attempt) == (wire.OUTCOME_TIMEOUT, 1)


async def test_a_model_whose_channels_are_gone_fails():
    bench = await started()
    bench.versions.version = version(model="another")
    await bench.work()
    assert bench.job().failure.kind == errors.ERROR_KIND_UPSTREAM_UNAVAILABLE


async def test_results_behind_addresses_are_fetched_and_tried_again():
    bench = await started(answer("https://cdn.example/a.png"))
    bench.fetcher.pages["https://cdn.example/a.png"] = [FetchFailed("503"), png(5, 5)]
    await bench.work()
    assert bench.job().state is JobState.INGESTING
    bench.clock.advance(2)
    await bench.work()
    assert bench.job().state is JobState.SUCCEEDED
    assert len(bench.provider.calls) == 1
    assert bench.fetcher.asked == [("https://cdn.example/a.png", True)] * 2
    assert bench.memory.attempts["job_1", 1].outputs == ()


async def test_results_that_never_come_fail_the_job_in_the_end():
    bench = await started(answer("https://cdn.example/a.png"))
    bench.fetcher.pages["https://cdn.example/a.png"] = FetchFailed("503")
    for _ in range(5):
        await bench.work()
        bench.clock.advance(60)
    job = bench.job()
    assert (job.state, job.failure.code, job.charge_pico) == (JobState.FAILED, "asset_invalid", 0)
    assert len(bench.fetcher.asked) == 3


@pytest.mark.parametrize("bad", [b"<html>", png()[:-4], b"", b"\x89PNG\r\n\x1a\n" + b"\x00" * 2_000_000])
async def test_bytes_that_are_no_image_cost_nothing(bad):
    bench = await started(answer("https://cdn.example/a.png"))
    bench.fetcher.pages["https://cdn.example/a.png"] = bad
    await bench.work()
    assert (bench.job().state, bench.job().charge_pico) == (JobState.FAILED, 0)
    assert not bench.memory.assets
    assert not bench.blobs.kept


async def test_of_several_results_the_good_ones_are_delivered_and_charged():
    bench = await started(answer("https://cdn.example/gone.png", png()))
    bench.fetcher.pages["https://cdn.example/gone.png"] = FetchRefused("404")
    await bench.work()
    job = bench.job()
    assert (job.state, job.charge_pico) == (JobState.SUCCEEDED, LOW)
    assert [asset.index for asset in bench.memory.assets.values()] == [1]


async def test_a_store_that_is_away_when_the_answer_comes_costs_nothing():
    bench = await started(answer())
    bench.blobs.away = True
    await bench.work()
    assert (bench.job().state, bench.job().failure.kind) == (JobState.FAILED, errors.ERROR_KIND_UNAVAILABLE)
    assert len(await sent(bench)) == 1


async def test_what_turns_out_to_have_no_price_is_kept_flagged_and_free():
    """The model is priced by tokens, and the provider does not tell them."""
    bench = Bench()
    tokens = {"gpt-image-1": {"input": "5", "image_output": "30"}}
    bench.versions.version = version(books=[PriceBook(name="public", effective_us=0, currency="USD", models=tokens)])
    bench.provider.script = [answer()]
    await bench.create(command())
    await bench.work()
    (event,) = await sent(bench)
    assert (event.unpriced, event.charge_pico, bench.job().state) == (True, 0, JobState.SUCCEEDED)


async def test_what_is_taken_again_says_that_it_is_a_replay():
    bench = await started(answer())
    await bench.work()
    now = bench.clock.now_us()
    await bench.outbox.take(100, now, now + 1)
    assert await bench.publish.send() == 0
    bench.clock.advance(1)
    (event,) = await sent(bench)
    assert event.replay
    assert event.final
    assert await bench.outbox.depth() == 0


async def test_holds_of_open_jobs_are_renewed_and_lost_ones_counted():
    bench = await started()
    await bench.keep_holds.step()
    assert bench.registry.get_sample_value("tollgate_media_jobs_holds_gone_total") == 0
    bench.holds.expire("org_a", "req_1")
    await bench.keep_holds.step()
    assert bench.registry.get_sample_value("tollgate_media_jobs_holds_gone_total") == 1
    bench.holds.away = True
    await bench.keep_holds.step()


async def test_a_wait_ends_with_the_job_and_not_before():
    bench = await started(answer())
    waiting = asyncio.create_task(bench.read.wait("org_a", "proj_a", "job_1", 60_000))
    await settled(lambda: bench.notices.waiting)
    assert not waiting.done()
    await bench.work()
    view = await waiting
    assert view.job.state is JobState.SUCCEEDED
    assert len(view.assets) == 1
    assert bench.notices.waiting == 0
    assert (await bench.read.wait("org_a", "proj_a", "job_1", 0)).job == view.job


async def test_the_wallet_is_whole_but_for_what_is_held():
    bench = await started(answer())
    await bench.work()
    assert bench.holds.wallets["org_a"] + sum(bench.holds.held.values()) == 100 * DOLLAR
