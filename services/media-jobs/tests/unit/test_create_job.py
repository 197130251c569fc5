"""Creating a job over fakes: money first, once per key, and every refusal by its kind."""

import asyncio
from dataclasses import replace

import pytest
from media_jobs_fakes.bench import DOLLAR, TENANT, Bench, book, command, version

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_media_jobs.domain.job import ImageRequest
from tollgate_media_jobs.domain.states import JobState
from tollgate_media_jobs.errors import HoldsUnavailable, MediaError, StoreUnavailable

pytestmark = pytest.mark.unit


async def refused(bench, **changes):
    with pytest.raises(MediaError) as found:
        await bench.create(command(**changes))
    assert not bench.memory.jobs
    assert not bench.holds.held
    return found.value


async def test_a_job_is_queued_with_its_money_held_and_its_price_frozen():
    bench = Bench()
    job = await bench.create(command())
    assert (job.state, job.version, job.attempt) == (JobState.QUEUED, 1, 0)
    assert bench.holds.held == {"req_1": job.hold_pico}
    assert job.hold_pico >= 11_000_000_000
    assert (job.price_digest, job.config_digest, job.currency) == (book().digest, "sha256:one", "USD")
    assert bench.memory.books.keys() == {book().digest}
    assert job.deadline_at_us == job.created_at_us + 1_800_000_000
    assert bench.created == [1]


async def test_the_price_group_pays_its_own_price():
    from tollgate_rating import GroupRule, PriceBook

    partner = PriceBook(
        name="public", effective_us=0, currency="USD", models={"gpt-image-1": {"image": "1"}},
        groups={"partner": GroupRule("0.5")},
    )  # fmt: skip
    bench = Bench()
    bench.versions.version = version(books=(partner,))
    full = await bench.create(command())
    half = await bench.create(command(request_id="req_2", tenant=replace(TENANT, price_group="partner")))
    assert full.hold_pico - 3 == 2 * (half.hold_pico - 3)


@pytest.mark.parametrize("books", [(), ({"request": "1"},)], ids=["no book", "no price of a picture"])
async def test_a_model_without_a_price_is_refused_and_not_taken_for_free(books):
    from tollgate_rating import PriceBook

    bench = Bench()
    bench.versions.version = version(
        books=[PriceBook(name="public", effective_us=0, currency="USD", models={"gpt-image-1": one}) for one in books]
    )
    error = await refused(bench)
    assert (error.kind, error.code, error.param) == (errors.ERROR_KIND_MODEL_NOT_FOUND, "model_not_priced", "model")


@pytest.mark.parametrize(
    "prices", [{"image": "9224"}, {"image": "1", "request": "9223"}, {"image": "1", "request": "10000"}]
)
async def test_what_may_cost_more_than_one_request_may_is_refused(prices):
    from tollgate_rating import PriceBook

    bench = Bench()
    dear = PriceBook(name="public", effective_us=0, currency="USD", models={"gpt-image-1": prices})
    bench.versions.version = version(books=[dear])
    error = await refused(bench)
    assert (error.kind, error.code, error.param) == (errors.ERROR_KIND_INVALID_REQUEST, "request_too_dear", "n")


async def test_without_money_without_wallet_and_without_redis():
    bench = Bench(wallet=1)
    assert (await refused(bench)).kind == errors.ERROR_KIND_INSUFFICIENT_QUOTA
    other = replace(TENANT, organization_id="org_unknown")
    error = await refused(bench, tenant=other)
    assert (error.kind, error.code) == (errors.ERROR_KIND_UNAVAILABLE, "no_wallet")
    bench.holds.away = True
    with pytest.raises(HoldsUnavailable):
        await bench.create(command())
    assert not bench.memory.jobs


@pytest.mark.parametrize(
    ("changes", "kind", "param"),
    [
        ({"model": "gpt-9"}, errors.ERROR_KIND_MODEL_NOT_FOUND, "model"),
        ({"tenant": replace(TENANT, route_group="elsewhere")}, errors.ERROR_KIND_MODEL_NOT_FOUND, "model"),
        ({"image": ImageRequest("")}, errors.ERROR_KIND_INVALID_REQUEST, "prompt"),
        ({"image": ImageRequest("a\x00b")}, errors.ERROR_KIND_INVALID_REQUEST, "prompt"),
        ({"image": ImageRequest("a", "1x1")}, errors.ERROR_KIND_INVALID_REQUEST, "size"),
        ({"image": ImageRequest("a", count=11)}, errors.ERROR_KIND_INVALID_REQUEST, "n"),
        ({"idempotency_key": "k" * 256}, errors.ERROR_KIND_INVALID_REQUEST, "idempotency_key"),
        ({"idempotency_key": "a\nb"}, errors.ERROR_KIND_INVALID_REQUEST, "idempotency_key"),
        ({"request_id": ""}, errors.ERROR_KIND_INTERNAL, ""),
        ({"tenant": replace(TENANT, project_id="")}, errors.ERROR_KIND_INTERNAL, ""),
    ],
)
async def test_bad_input_is_refused_before_any_money(changes, kind, param):
    error = await refused(Bench(), **changes)
    assert (error.kind, error.param) == (kind, param)


async def test_a_model_that_makes_no_images_and_no_configuration():
    bench = Bench()
    bench.versions.version = version(kind="chat")
    error = await refused(bench)
    assert (error.kind, error.param) == (errors.ERROR_KIND_INVALID_REQUEST, "model")
    bench.versions.version = None
    assert (await refused(bench)).kind == errors.ERROR_KIND_UNAVAILABLE


async def test_the_same_key_gives_the_same_job_and_another_body_a_conflict():
    bench = Bench()
    first = await bench.create(command(idempotency_key="k"))
    assert await bench.create(command(idempotency_key="k", request_id="req_2")) == first
    assert bench.holds.held.keys() == {"req_1"}
    for changes in (
        {"image": ImageRequest("another")},
        {"model": "gpt-image-2"},
        {"tenant": replace(TENANT, project_id="proj_b")},
    ):
        with pytest.raises(MediaError) as found:
            await bench.create(command(idempotency_key="k", request_id="req_3", **changes))
        assert found.value.kind == errors.ERROR_KIND_CONFLICT
    other = replace(TENANT, organization_id="org_b")
    bench.holds.wallets["org_b"] = DOLLAR
    assert (await bench.create(command(idempotency_key="k", request_id="req_4", tenant=other))).id != first.id


async def test_a_repetition_is_the_same_request_though_a_budget_turns_it_to_another_model():
    bench = Bench()
    first = await bench.create(command(idempotency_key="k"))
    turned = command(idempotency_key="k", request_id="req_2", model="other", requested_model=first.model)
    assert await bench.create(turned) == first


async def test_a_request_sent_again_is_the_same_job():
    bench = Bench()
    first, second = await bench.create(command()), await bench.create(command())
    assert first == second
    assert len(bench.holds.held) == 1


async def test_many_at_once_make_one_job_and_leave_one_hold():
    bench = Bench()
    commands = [command(idempotency_key="k", request_id=f"req_{number}") for number in range(50)]
    jobs = await asyncio.gather(*(bench.create(one) for one in commands))
    assert len({job.id for job in jobs}) == len(bench.memory.jobs) == 1
    assert bench.holds.held.keys() == {jobs[0].request_id}


async def test_losing_the_race_for_a_key_gives_the_money_back():
    bench = Bench()
    first = await bench.create(command(idempotency_key="k"))
    find, bench.jobs.find_earlier = bench.jobs.find_earlier, _nothing_at_first(bench.jobs.find_earlier)
    assert await bench.create(command(idempotency_key="k", request_id="req_2")) == first
    assert bench.holds.held.keys() == {"req_1"}
    assert bench.holds.wallets["org_a"] == 100 * DOLLAR - first.hold_pico
    assert find is not None


async def test_the_database_going_away_is_told():
    bench = Bench()
    bench.memory.away = True
    with pytest.raises(StoreUnavailable):
        await bench.create(command())
    assert not bench.holds.held


def _nothing_at_first(find):
    calls = []

    async def found(*arguments):
        calls.append(arguments)
        return None if len(calls) == 1 else await find(*arguments)

    return found
