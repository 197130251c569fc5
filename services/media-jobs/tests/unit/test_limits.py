"""Jobs within the limits of their key, project and organization: counted once, open until they end, corrected then."""

from dataclasses import replace

import pytest
from media_jobs_fakes.bench import TENANT, Bench, answer, command

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.media.v1 import media_pb2 as media
from tollgate_holds import HoldResult, Scope
from tollgate_media_jobs.api.messages import command_of
from tollgate_media_jobs.domain.job import ImageRequest
from tollgate_media_jobs.domain.states import JobState
from tollgate_media_jobs.errors import Failure, MediaError, Refused
from tollgate_media_jobs.use_cases.usage_event import tenant_message

pytestmark = pytest.mark.unit

REQUESTS, TOKENS, SLOTS = 1, 2, 3
LIMITED, DONE = int(HoldResult.LIMITED), int(HoldResult.DONE)


def within(number=1, *, project=None, **limits):
    """A request of a key with these limits, and of a project with those."""
    scopes = [Scope("key", "key_a", **limits)]
    scopes += [Scope("project", "proj_a", **project)] if project else []
    return command(tenant=replace(TENANT, limits=tuple(scopes)), request_id=f"req_{number}")


async def test_beyond_a_limit_there_is_no_job_and_no_money_is_held():
    bench = Bench()
    first = await bench.admit(within(1, requests=2, project={"requests": 1}))
    assert (first.job.state, first.verdict[0]) == (JobState.QUEUED, DONE)
    second = await bench.admit(within(2, requests=2, project={"requests": 1}))
    assert second.job is None
    # The project's limit, of which one is used, in the second place.
    assert (second.verdict[0], second.verdict[9:12]) == (LIMITED, (REQUESTS, 2, 1))
    assert bench.memory.jobs.keys() == {first.job.id}
    assert bench.holds.held.keys() == {"req_1"}
    # A minute later there is room.
    bench.holds.now += 60
    assert (await bench.admit(within(3, requests=2, project={"requests": 1}))).job is not None


async def test_a_job_is_open_from_its_admission_until_its_end():
    bench = Bench()
    bench.provider.script = [answer()]
    await bench.create(within(1, slots=1))
    # It waits for a worker, and counts.
    refused = await bench.admit(within(2, slots=1))
    assert (refused.job, refused.verdict[9:12]) == (None, (SLOTS, 1, 1))
    await bench.work()
    assert bench.job().state is JobState.SUCCEEDED
    assert (await bench.admit(within(3, slots=1))).job is not None


async def test_a_job_that_fails_gives_its_place_back_and_counts_no_tokens():
    bench = Bench()
    refused = Refused(Failure(errors.ERROR_KIND_CONTENT_POLICY, "no"), detail="no", status=400)
    bench.provider.script = [refused]
    job = await bench.create(within(1, slots=1, tokens=10_000))
    assert job.counted_tokens == len(job.image.prompt) // 4 + 1 + 6240
    await bench.work()
    assert bench.job().state is JobState.FAILED
    assert bench.holds.finished == [("req_1", 0)]
    assert (await bench.admit(within(2, slots=1, tokens=10_000))).job is not None


async def test_tokens_are_counted_ahead_and_corrected_by_what_the_provider_reports():
    bench = Bench()
    bench.provider.script = [answer(tokens={"input": 10, "image_output": 1000})]
    await bench.create(within(1, tokens=8000))
    refused = await bench.admit(within(2, tokens=8000))
    assert (refused.job, refused.verdict[9]) == (None, TOKENS)
    assert refused.verdict[11] == refused.tokens == 6243
    await bench.work()
    assert bench.holds.finished == [("req_1", 1010)]
    # 1,010 are left of the first job's, in the second in which it was admitted.
    admitted = await bench.admit(within(3, tokens=8000))
    assert admitted.verdict[6] == 8000 - 1010 - admitted.tokens


async def test_pictures_to_begin_from_count_as_the_most_that_one_was_seen_to_take():
    from media_jobs_fakes.images import png

    bench = Bench()
    edit = replace(within(1, tokens=10**6), files=(("image", png()), ("mask", png())), image=ImageRequest("fox"))
    assert (await bench.create(edit)).counted_tokens == 1 + 2 * 8192 + 6240


async def test_what_is_repeated_counts_once():
    bench = Bench()
    one = replace(within(1, requests=1, slots=1), idempotency_key="k")
    first = await bench.admit(one)
    again = await bench.admit(replace(one, request_id="req_2"))
    assert (again.job, again.verdict) == (first.job, ())


async def test_losing_the_race_for_a_key_counts_nowhere():
    bench = Bench()
    one = replace(within(1, requests=2, slots=2, tokens=20_000), idempotency_key="k")
    first = await bench.create(one)
    find = bench.jobs.find_earlier
    calls = []

    async def too_late(*arguments):
        calls.append(arguments)
        return None if len(calls) == 1 else await find(*arguments)

    bench.jobs.find_earlier = too_late
    assert (await bench.admit(replace(one, request_id="req_2"))).job == first
    bench.jobs.find_earlier = find
    admitted = await bench.admit(within(3, requests=2, slots=2, tokens=20_000))
    assert (admitted.verdict[0], admitted.verdict[3], admitted.verdict[6]) == (DONE, 0, 20_000 - 2 * admitted.tokens)


async def test_an_end_does_not_wait_for_redis():
    bench = Bench()

    async def answered():
        bench.holds.away = True
        return answer()

    bench.provider.script = [answered]
    await bench.create(within(1, slots=1))
    await bench.work()
    assert bench.job().state is JobState.SUCCEEDED
    assert bench.holds.finished == []


async def test_only_jobs_with_a_limit_of_concurrency_are_renewed_as_often_as_their_places():
    bench = Bench()
    renewed = []
    renew = bench.holds.renew

    async def noted(job):
        renewed.append(job.request_id)
        return await renew(job)

    bench.holds.renew = noted
    await bench.create(within(1, slots=2))
    await bench.create(within(2, requests=9))
    await bench.create(command(request_id="req_3"))
    await bench.keep_holds.keep_places()
    assert renewed == ["req_1"]
    await bench.keep_holds.step()
    assert renewed == ["req_1", "req_1", "req_2", "req_3"]


async def test_who_pays_later_needs_no_wallet():
    bench = Bench(wallet=1)
    with pytest.raises(MediaError):
        await bench.create(command())
    job = await bench.create(command(prepaid=False))
    assert bench.holds.wallets["org_a"] == 1 - job.hold_pico


async def test_want_of_money_is_told_with_the_limits_to_edges_that_know_of_it():
    bench = Bench(wallet=1)
    poor = within(1, requests=2)
    with pytest.raises(MediaError):
        await bench.admit(poor)
    refused = await bench.admit(replace(poor, money_told=True))
    assert refused.job is None
    assert (refused.verdict[0], refused.verdict[2:4]) == (int(HoldResult.INSUFFICIENT), (1, 2))
    assert bench.memory.jobs == {}
    # Without limits there is nothing to tell.
    with pytest.raises(MediaError):
        await bench.admit(command(money_told=True))


async def test_limits_travel_in_and_out_and_older_edges_ask_for_none():
    bench = Bench()
    scopes = (Scope("key", "key_a", 1, 10**6, 3, 4, "day"), Scope("organization", "org_a", 5))
    job = await bench.create(replace(command(), tenant=replace(TENANT, limits=scopes)))
    asked = media.CreateJobRequest(tenant=tenant_message(job), kind=media.JOB_KIND_TEXT_TO_IMAGE, request_id="req_1")
    assert command_of(asked).tenant.limits == ()
    asked.within_limits = True
    assert command_of(asked).tenant.limits == scopes
    assert command_of(asked).prepaid
    asked.postpaid = True
    assert not command_of(asked).prepaid
    assert not command_of(asked).money_told
    asked.money_told = True
    assert command_of(asked).money_told
