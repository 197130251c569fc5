"""Jobs, queue, outbox and price books: one suite for the fakes, SQLite and PostgreSQL."""

import asyncio
import contextlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from media_jobs_fakes.bench import TENANT
from media_jobs_fakes.stores import FakeBooks, FakeJobs, FakeOutbox, FakeQueue, Memory

from tollgate_holds import Scope
from tollgate_media_jobs.adapters.sql import tables
from tollgate_media_jobs.adapters.sql.database import Database
from tollgate_media_jobs.adapters.sql.jobs import SqlJobs
from tollgate_media_jobs.adapters.sql.outbox import SqlBooks, SqlOutbox
from tollgate_media_jobs.adapters.sql.queue import SqlQueue
from tollgate_media_jobs.domain.job import (
    Asset,
    Attempt,
    Billing,
    ImageRequest,
    Job,
    Message,
    Move,
    Output,
    Reported,
    moved,
)
from tollgate_media_jobs.domain.states import JobState, Trigger
from tollgate_media_jobs.errors import Failure, StoreUnavailable
from tollgate_media_jobs.ports import Parcel
from tollgate_rating import GroupRule, PriceBook, PriceTier

pytestmark = pytest.mark.integration

NOW = 1_764_000_000_000_000


@contextlib.asynccontextmanager
async def sql_stores(request, tmp_path):
    url = f"sqlite:///{tmp_path}/deep/media.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").new_database("media")
    database = Database(url)
    await database.migrate()
    yield SimpleNamespace(
        jobs=SqlJobs(database),
        queue=SqlQueue(database),
        outbox=SqlOutbox(database),
        books=SqlBooks(database),
        sql=database,
    )
    database.close()


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
async def stores(request, tmp_path):
    if request.param == "fake":
        memory = Memory()
        yield SimpleNamespace(
            jobs=FakeJobs(memory), queue=FakeQueue(memory), outbox=FakeOutbox(memory), books=FakeBooks(memory), sql=None
        )
        return
    async with sql_stores(request, tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
async def databases(request, tmp_path):
    """The stores that have a database behind them."""
    async with sql_stores(request, tmp_path) as made:
        yield made


def job(number=1, **changes):
    values = {
        "id": f"job_{number:04}",
        "request_id": f"req_{number}",
        "tenant": TENANT,
        "model": "gpt-image-1",
        "image": ImageRequest("ein Fuchs 🦊", "1024x1024", "low", 2, "png", "someone"),
        "created_at_us": NOW + number,
        "deadline_at_us": NOW + 10**9,
        "next_at_us": NOW,
        "request_hash": "abc",
        "traceparent": "00-a-b-01",
        "span_id": "s",
        "config_digest": "sha256:c",
        "price_digest": "sha256:p",
        "currency": "CNY",
        "exchange_rate": '{"base":"USD"}',
        "requested_model": "gpt-image-2",
        "client_network": "203.0.113.0/24",
        "prompt_hash": "ff00000000000001",
        "hold_pico": 2**62,
        "counted_tokens": 2**40,
        "counted_second": NOW // 1_000_000,
    }
    return Job(**(values | changes))


def attempt(**changes):
    values = {
        "job_id": "job_0001", "number": 1, "channel": "main", "provider": "simulator", "upstream_model": "up",
        "private_network": True, "span_id": "s", "started_at_us": NOW,
    }  # fmt: skip
    return Attempt(**(values | changes))


def submit(before, **changes):
    after = moved(before, Trigger.SUBMIT, attempt=before.attempt + 1)
    return Move(before, after, NOW, "submit", **changes)


async def stored(stores, **changes):
    made = job(**changes)
    assert (await stores.jobs.create(made)).is_new
    return made


async def test_a_job_comes_back_as_it_was(stores):
    limits = (Scope("key", "key_a", 1, 10**12, 3, 2**62, "day"), Scope("project", "proj_a", requests=4))
    tenant = replace(TENANT, limits=limits)
    failure = Failure(45, "busy", "n", "code")
    made = await stored(stores, tenant=tenant, idempotency_key="k", tried=("a", "b"), failure=failure)
    assert await stores.jobs.get("org_a", "proj_a", made.id) == made
    assert await stores.jobs.get("org_a", "", made.id) == made
    for owner in (("org_b", "proj_a"), ("org_a", "proj_b"), ("org_b", "")):
        assert await stores.jobs.get(*owner, made.id) is None


async def test_request_ids_and_keys_are_used_once(stores):
    first = await stored(stores, idempotency_key="k")
    again = await stores.jobs.create(job(2, idempotency_key="k"))
    assert (again.is_new, again.job) == (False, first)
    again = await stores.jobs.create(replace(job(3), request_id="req_1"))
    assert (again.is_new, again.job) == (False, first)
    other = replace(TENANT, organization_id="org_b")
    assert (await stores.jobs.create(job(4, idempotency_key="k", tenant=other))).is_new
    assert (await stores.jobs.create(job(5))).is_new
    assert (await stores.jobs.create(job(6))).is_new
    assert await stores.jobs.find_earlier("org_a", "req_5", "k") == job(5)
    assert await stores.jobs.find_earlier("org_a", "req_9", "k") == first
    assert await stores.jobs.find_earlier("org_a", "req_9", "") is None


async def test_one_of_many_that_come_at_once_is_new(stores):
    made = await asyncio.gather(*(stores.jobs.create(job(n, idempotency_key="k")) for n in range(1, 21)))
    assert [one.is_new for one in made].count(True) == 1
    assert len({one.job.id for one in made}) == 1


async def test_a_move_writes_everything_or_nothing(stores):
    made = await stored(stores)
    message = Message("usage.recorded.v1", b"req_1", b"\x00\xff", "00-a-b-01")
    first = submit(made, attempt=attempt(), messages=(message,), keep_lease=True)
    assert await stores.jobs.move(first)
    assert not await stores.jobs.move(first)
    assert await stores.jobs.get("org_a", "", made.id) == first.after
    assert await stores.jobs.attempt(made.id, 1) == attempt()
    assert await stores.jobs.attempt(made.id, 2) is None
    assert await stores.outbox.depth() == 1


async def test_one_of_many_movers_wins(stores):
    made = await stored(stores)
    moves = [submit(made, attempt=attempt(channel=f"c{n}"), messages=(Message("t", b"k", b"v"),)) for n in range(20)]
    won = await asyncio.gather(*(stores.jobs.move(move) for move in moves))
    assert won.count(True) == 1
    assert (await stores.jobs.attempt(made.id, 1)).channel == f"c{won.index(True)}"
    assert await stores.outbox.depth() == 1


async def test_an_end_with_its_assets(stores):
    made = await stored(stores)
    first = submit(made, attempt=attempt())
    await stores.jobs.move(first)
    outputs = (Output(0, "staging/x/1/0"), Output(1, url="https://cdn.example/1.png"))
    answered = attempt(outcome="answered", status=200, outputs=outputs, reported=Reported({"input": 5}, "1x1", "low"))
    second = Move(first.after, moved(first.after, Trigger.ANSWERED), NOW, "answered", attempt=answered)
    assert await stores.jobs.move(second)
    assert await stores.jobs.attempt(made.id, 1) == answered
    assets = [Asset(f"asset_{n}", made.id, n, "f" * 64, "image/png", 2**40, 4, 5, f"assets/{n}") for n in (1, 0)]
    after = moved(second.after, Trigger.STORED, charge_pico=7, billing=Billing.SETTLED, ended_at_us=NOW)
    assert await stores.jobs.move(Move(second.after, after, NOW, "stored", assets=assets))
    assert await stores.jobs.assets_of([made.id, "job_x"]) == assets[::-1]
    assert await stores.jobs.assets_of([]) in ((), [])
    assert await stores.jobs.find_asset("org_a", "proj_a", "asset_1") == assets[0]
    assert await stores.jobs.find_asset("org_a", "proj_b", "asset_1") is None
    assert await stores.jobs.find_asset("org_b", "", "asset_1") is None
    await stores.jobs.note_late_answer(after, NOW, "lost")
    late = await stores.jobs.get("org_a", "", made.id)
    assert late == replace(after, version=after.version + 1)


async def test_pages_go_from_new_to_old_without_gaps(stores):
    for number in range(1, 8):
        # Two share a moment.
        await stored(stores, number=number, created_at_us=NOW + number // 2)
    await stored(stores, number=9, tenant=replace(TENANT, project_id="proj_b"))
    seen, before = [], None
    while page := await stores.jobs.list("org_a", "proj_a", 3, before):
        seen += [one.id for one in page]
        before = (page[-1].created_at_us, page[-1].id)
    assert seen == [f"job_{number:04}" for number in range(7, 0, -1)]
    assert len(await stores.jobs.list("org_a", "", 100, None)) == 8
    assert not await stores.jobs.list("org_b", "", 100, None)


async def test_claims_take_turns_by_organization_and_are_held_until_they_end(stores):
    for number in range(1, 6):
        await stored(stores, number=number)
    other = replace(TENANT, organization_id="org_b")
    await stored(stores, number=6, tenant=other)
    await stored(stores, number=7, next_at_us=NOW + 100)
    first = await stores.queue.claim("w1", 3, NOW, NOW + 50)
    assert [one.id for one in first] == ["job_0001", "job_0006", "job_0002"]
    second = await stores.queue.claim("w2", 10, NOW, NOW + 50)
    assert [one.id for one in second] == ["job_0003", "job_0004", "job_0005"]
    assert not await stores.queue.claim("w3", 10, NOW + 49, NOW + 90)
    await stores.queue.renew("w1", ["job_0001", "job_0003"], NOW + 200)
    await stores.queue.renew("w1", [], NOW + 200)
    third = await stores.queue.claim("w3", 10, NOW + 100, NOW + 150)
    assert {one.id for one in third} == {f"job_{n:04}" for n in (2, 3, 4, 5, 6, 7)}


async def test_many_workers_never_share_a_job(stores):
    for number in range(1, 31):
        await stored(stores, number=number)
    taken = await asyncio.gather(*(stores.queue.claim(f"w{n}", 5, NOW, NOW + 50) for n in range(8)))
    ids = [one.id for batch in taken for one in batch]
    assert len(ids) == len(set(ids))
    rest = await stores.queue.claim("w9", 100, NOW, NOW + 50)
    assert len(ids) + len(rest) == 30


async def test_letting_go_is_for_the_owner_and_counts_failed_copies(stores):
    made = await stored(stores)
    await stores.queue.claim("w1", 1, NOW, NOW + 50)
    await stores.queue.let_go("w2", made.id, NOW + 5, ingest_failed=True)
    assert await stores.jobs.get("org_a", "", made.id) == made
    await stores.queue.let_go("w1", made.id, NOW + 5, ingest_failed=True)
    assert not await stores.queue.claim("w2", 1, NOW + 4, NOW + 50)
    (again,) = await stores.queue.claim("w2", 1, NOW + 5, NOW + 50)
    assert (again.ingest_tries, again.version) == (1, 1)


async def test_a_move_keeps_or_ends_the_lease(stores):
    made = await stored(stores)
    await stores.queue.claim("w1", 1, NOW, NOW + 50)
    first = submit(made, attempt=attempt(), keep_lease=True)
    await stores.jobs.move(first)
    assert not await stores.queue.claim("w2", 1, NOW + 49, NOW + 50)
    lost = Move(first.after, moved(first.after, Trigger.ANSWER_LOST), NOW, "lost")
    await stores.jobs.move(lost)
    assert [one.id for one in await stores.queue.claim("w2", 1, NOW + 1, NOW + 50)] == [made.id]


async def test_what_has_ended_is_neither_claimed_nor_waiting_nor_counted(stores):
    made = await stored(stores)
    await stored(stores, number=2)
    after = moved(made, Trigger.GIVE_UP, billing=Billing.RELEASED, failure=Failure(62, "late"))
    await stores.jobs.move(Move(made, after, NOW, "deadline"))
    assert [one.id for one in await stores.queue.waiting()] == ["job_0002"]
    assert await stores.queue.counts() == {int(JobState.QUEUED): 1}
    assert [one.id for one in await stores.queue.claim("w", 9, NOW + 10**9, NOW + 10**9)] == ["job_0002"]


async def test_the_outbox_gives_each_row_once_at_a_time_and_counts_tries(stores):
    made = await stored(stores)
    messages = [Message("t", b"k", bytes([n])) for n in range(5)]
    await stores.jobs.move(submit(made, attempt=attempt(), messages=messages))
    first = await stores.outbox.take(3, NOW, NOW + 50)
    assert [parcel.message for parcel in first] == messages[:3]
    assert {parcel.tries for parcel in first} == {0}
    second = await stores.outbox.take(10, NOW, NOW + 50)
    assert [parcel.message for parcel in second] == messages[3:]
    await stores.outbox.remove([parcel.id for parcel in second])
    again = await stores.outbox.take(10, NOW + 50, NOW + 90)
    assert again == [Parcel(parcel.id, parcel.message, 1) for parcel in first]
    await stores.outbox.remove([parcel.id for parcel in again])
    assert await stores.outbox.depth() == 0
    assert not await stores.outbox.take(10, NOW + 500, NOW + 900)


async def test_books_come_back_with_their_address(stores):
    grouped = PriceBook(
        name="public", effective_us=5, currency="CNY", models={"m": {"image": "1.5"}},
        groups={"partner": GroupRule("0.5", {"m": {"image": "1"}})},
        tiers={"m": [PriceTier(multiply="3", service="flex")]},
    )  # fmt: skip
    for _ in range(2):
        await stores.books.keep(grouped)
    if stores.sql is not None:
        stores.books = SqlBooks(stores.sql)
    found = await stores.books.find(grouped.digest)
    assert found.digest == grouped.digest
    assert found.price("m", "partner").rate({"image": 2}) == 2 * 10**12
    assert found.price("m", "").rate({"image": 2}, 0, "flex") == 9 * 10**12
    assert await stores.books.find("sha256:unknown") is None


async def test_the_database_refuses_a_charge_without_success(databases):
    made = await stored(databases)
    after = moved(made, Trigger.GIVE_UP, billing=Billing.RELEASED, charge_pico=1)
    with pytest.raises(sa.exc.IntegrityError):
        await databases.jobs.move(Move(made, after, NOW, "wrong"))
    held = moved(made, Trigger.GIVE_UP)
    with pytest.raises(sa.exc.IntegrityError):
        await databases.jobs.move(Move(made, held, NOW, "wrong"))
    assert await databases.jobs.get("org_a", "", made.id) == made


async def test_migrations_make_what_the_tables_say(databases):
    await databases.sql.migrate()

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), tables.METADATA)

    assert await databases.sql.read(differences) == []


async def test_a_database_that_is_away_is_told(tmp_path):
    (tmp_path / "media.sqlite").mkdir()
    database = Database(f"sqlite:///{tmp_path}/media.sqlite")
    with pytest.raises(StoreUnavailable):
        await database.migrate()
    database.close()
