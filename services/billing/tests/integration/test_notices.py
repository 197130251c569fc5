"""The outbox on a clock that is moved: what waits is sent at least once, under one id, when it may be."""

import asyncio
import itertools
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from services.billing.tests.fakes.spending import FakeSender

from tollgate_billing.adapters.control_tables import DESTINATIONS
from tollgate_billing.adapters.sql_notices import SqlDestinations, SqlOutbox, post_notices
from tollgate_billing.control_ports import Fact, Outcome
from tollgate_billing.domain.delivery import Destination, Quiet
from tollgate_billing.errors import InvalidControl, NameTaken, NotFound
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.deliver_notices import DeliverNotices
from tollgate_kit.clock import ManualClock
from tollgate_kit.ids import RandomIds
from tollgate_kit.sql import Database
from tollgate_sealing.envelopes import Envelopes, KeyRing

pytestmark = pytest.mark.integration

# 21:00 in Berlin.
KEY, NEXT_KEY = b"k" * 32, b"n" * 32
START = int(datetime(2026, 11, 29, 20, tzinfo=UTC).timestamp()) * 1_000_000


class Killed(BaseException):
    """The process ends here."""


class Post:
    def __init__(self, database):
        self.database, self.clock, self.ids = database, ManualClock(START), RandomIds()
        self.sender, self.counters, self.numbers = FakeSender(), BillingCounters(), itertools.count()
        self.seal_with(KEY)
        self.kill_at = ""
        self.deliver = self.new_process()

    def seal_with(self, *keys):
        """What another process with these keys has."""
        ring = Envelopes(KeyRing(keys))
        self.outbox, self.destinations = SqlOutbox(self.database, ring), SqlDestinations(self.database, ring)

    def new_process(self):
        return DeliverNotices(
            outbox=self.outbox,
            destinations=self.destinations,
            sender=self.sender,
            clock=self.clock,
            counters=self.counters,
            new_id=self.ids.new,
            reached=self._reached,
        )

    def _reached(self, step):
        if step == self.kill_at:
            self.kill_at = ""
            raise Killed

    async def add(self, name="ops", **more):
        values = {"kind": "slack", "target": "https://hooks.example.com/secret", "organization_id": ""} | more
        return await self.deliver.add(Destination(id="", name=name, **values))

    async def tell(self, key="", organization="org", about="budget"):
        content = {"about": "test", "destination": f"fact {key or next(self.numbers)}"}
        fact = Fact(key or f"key-{content['destination']}", organization, about, content)
        now = self.clock.now_us()
        return await self.database.write(lambda connection: post_notices(connection, fact, now, self.ids))

    def sent(self):
        return [(name, letter.id) for name, letter in self.sender.sent]

    async def states(self):
        return [one.state for one in await self.outbox.list(100, "")]


@pytest.fixture(params=["sqlite", "postgresql"])
async def post(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:////{tmp_path}/ledger.sqlite"
    else:
        url = request.getfixturevalue("postgresql").new_database("ledger")
    database = Database(url, migrations="tollgate_billing:migrations")
    await database.migrate()
    yield Post(database)
    database.close()


async def test_each_destination_that_wants_a_fact_is_told_once(post):
    await post.add("all")
    await post.add("own", organization_id="org")
    await post.add("others", organization_id="another")
    await post.add("anomalies", about=("anomaly",))
    assert await post.tell("once") == 2
    assert await post.tell("once") == 0
    assert await post.deliver.step() == 2
    assert sorted(name for name, _ in post.sent()) == ["all", "own"]
    assert await post.deliver.step() == 0
    assert set(await post.states()) == {"sent"}
    assert post.counters.counts["notices_sent"] == 2


@pytest.mark.parametrize("step", ["after_lease", "after_send"])
async def test_a_process_that_is_killed_loses_nothing_and_what_it_sent_twice_has_one_id(post, step):
    await post.add()
    await post.tell()
    post.kill_at = step
    with pytest.raises(Killed):
        await post.deliver.step()
    other = post.new_process()
    assert await other.step() == 0
    post.clock.advance(61)
    assert await other.step() == 1
    ids = {name for _, name in post.sent()}
    assert (len(post.sent()), len(ids)) == (2 if step == "after_send" else 1, 1)
    assert await post.states() == ["sent"]
    post.clock.advance(10**6)
    assert await other.step() == 0


async def test_processes_side_by_side_send_each_message_once(post):
    await post.add()
    for _ in range(30):
        await post.tell()
    others = [post.new_process() for _ in range(4)]
    for _ in range(4):
        await asyncio.gather(*(one.step() for one in others))
    told = [text for _, letter in post.sender.sent for text in letter.paragraphs]
    assert (len(told), len(set(told))) == (30, 30)


async def test_what_is_not_taken_is_tried_again_with_growing_pauses_and_at_last_given_up(post):
    await post.add()
    await post.tell()
    post.sender.outcomes = [Outcome("answered 503")] * 99
    tries = []
    for _ in range(20):
        if await post.deliver.step():
            tries.append(post.clock.now_us())
        (notice,) = await post.outbox.list(10, "")
        if notice.state == "failed":
            break
        post.clock.advance(max(0, notice.due_us - post.clock.now_us()) / 1e6)
    pauses = [(after - before) // 10**6 for before, after in itertools.pairwise(tries)]
    assert pauses == [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200]
    assert (notice.state, notice.attempts, notice.problem) == ("failed", 11, "answered 503")
    assert len({name for _, name in post.sent()}) == 1
    post.clock.advance(10**6)
    assert await post.deliver.step() == 0


async def test_who_asks_for_a_pause_gets_it_and_who_is_gone_is_left_alone(post):
    await post.add()
    await post.tell()
    post.sender.outcomes = [Outcome("answered 429", retry_after_seconds=100)]
    await post.deliver.step()
    post.clock.advance(99)
    assert await post.deliver.step() == 0
    post.clock.advance(1)
    post.sender.outcomes = [Outcome("answered 410", final=True)]
    assert await post.deliver.step() == 1
    assert await post.states() == ["failed"]


async def test_a_digest_gathers_and_a_failed_one_stays_as_it_was(post):
    await post.add(digest_minutes=30)
    for _ in range(3):
        await post.tell()
    assert await post.deliver.step() == 0
    post.clock.advance(30 * 60)
    post.sender.outcomes = [Outcome("answered 500")]
    assert await post.deliver.step() == 1
    await post.tell()
    post.clock.advance(30 * 60)
    assert await post.deliver.step() == 2
    first, *others = [letter for _, letter in post.sender.sent]
    assert sorted(len(letter.facts) for letter in others) == [1, 3]
    assert first.title == "Tollgate: 3 notices"
    same = [letter for letter in others if letter.id == first.id]
    assert [letter.facts for letter in same] == [first.facts]


async def test_a_message_has_no_more_than_people_read(post):
    await post.add(digest_minutes=1)
    for _ in range(45):
        await post.tell()
    post.clock.advance(60)
    assert await post.deliver.step() == 3
    assert sorted(len(letter.facts) for _, letter in post.sender.sent) == [5, 20, 20]


async def test_nothing_is_sent_in_quiet_hours(post):
    await post.add(quiet=Quiet(22 * 60, 7 * 60), time_zone="Europe/Berlin")
    await post.tell()
    assert await post.deliver.step() == 1
    post.clock.advance(2 * 3600)
    for _ in range(2):
        await post.tell()
    assert await post.deliver.step() == 0
    post.clock.advance(8 * 3600 - 1)
    assert await post.deliver.step() == 0
    post.clock.advance(1)
    # What came in the night comes as one message in the morning.
    assert await post.deliver.step() == 1
    assert len(post.sender.sent[-1][1].facts) == 2


async def test_a_test_goes_past_quiet_hours_and_leaves_nothing(post):
    made = await post.add(quiet=Quiet(0, 1439), digest_minutes=60)
    post.sender.outcomes = [Outcome("answered 404")]
    assert (await post.deliver.test(made.id)).problem == "answered 404"
    assert (await post.deliver.test(made.id)).problem == ""
    assert await post.states() == []
    with pytest.raises(NotFound):
        await post.deliver.test("dst_none")


async def test_what_waits_for_a_destination_that_is_removed_is_not_sent(post):
    made = await post.add(digest_minutes=1)
    await post.tell()
    await post.deliver.delete(made.id)
    post.clock.advance(600)
    assert await post.deliver.step() == 0
    (notice,) = await post.outbox.list(10, "")
    assert (notice.state, notice.problem) == ("failed", "the destination was deleted")
    with pytest.raises(NotFound):
        await post.deliver.delete(made.id)


async def test_destinations_have_names_of_their_own_and_are_checked(post):
    made = await post.add()
    with pytest.raises(NameTaken):
        await post.add()
    with pytest.raises(InvalidControl):
        await post.add("bad", target="gopher://x")
    assert await post.destinations.get(made.id) == made
    assert [one.id for one in await post.deliver.list_destinations()] == [made.id]


async def table(post):
    """Returns all that SQL knows of destinations."""
    query = sa.select(DESTINATIONS).order_by(DESTINATIONS.c.name)
    return await post.database.read(lambda connection: [dict(row._mapping) for row in connection.execute(query)])


async def test_sql_alone_gives_neither_target_nor_secret_away(post):
    made = await post.add(
        kind="webhook", target="https://hooks.example.com/canary1", secret="whsec_" + "Y2FuYXJ5Mg" * 4
    )
    (row,) = await table(post)
    assert not any(word in str(row) for word in ("hooks.example.com", "canary", "Y2FuYXJ5"))
    found = await post.destinations.get(made.id)
    assert (found.target, found.secret) == (made.target, made.secret)
    assert await post.destinations.list() == [found]


async def test_what_an_older_release_left_open_is_sealed_once(post):
    made = await post.add()
    open_row = {"target": "https://hooks.example.com/old", "secret": "word", "sealed": ""}
    change = sa.update(DESTINATIONS).where(DESTINATIONS.c.id == made.id).values(open_row)
    await post.database.write(lambda connection: connection.execute(change) and None)
    assert (await post.destinations.get(made.id)).target == open_row["target"]
    assert [await post.destinations.seal() for _ in range(3)] == [1, 0, 0]
    (row,) = await table(post)
    assert (row["target"], row["secret"]) == ("", "")
    found = await post.destinations.get(made.id)
    assert (found.target, found.secret) == (open_row["target"], open_row["secret"])


async def test_keys_are_changed_without_a_gap_and_a_lost_key_is_said(post):
    made = await post.add()
    post.seal_with(NEXT_KEY, KEY)
    assert await post.destinations.seal() == 1
    post.seal_with(NEXT_KEY)
    assert (await post.destinations.get(made.id)).target == made.target
    await post.tell()
    post.seal_with(KEY)
    assert await post.destinations.seal() == 0
    assert (await post.destinations.get(made.id)).target == ""
    deliver = post.new_process()
    assert "not in the file" in (await deliver.test(made.id)).problem
    await deliver.step()
    (notice,) = await post.outbox.list(10, "")
    assert notice.state == "waiting"
    assert "not in the file" in notice.problem
    assert post.sender.sent == []
    # The key is back, and what waited is sent.
    post.seal_with(KEY, NEXT_KEY)
    post.clock.advance(60)
    await post.new_process().step()
    assert await post.states() == ["sent"]


async def test_a_secret_opens_in_its_own_row_only(post):
    first, second = await post.add("a"), await post.add("b", target="https://hooks.example.com/other")
    rows = {row["id"]: row["sealed"] for row in await table(post)}
    change = sa.update(DESTINATIONS).where(DESTINATIONS.c.id == first.id).values(sealed=rows[second.id])
    await post.database.write(lambda connection: connection.execute(change) and None)
    found = await post.destinations.get(first.id)
    assert (found.target, "sealed for something else" in found.problem) == ("", True)
    for damaged in ("zz", "00", rows[first.id][:-2]):
        change = sa.update(DESTINATIONS).where(DESTINATIONS.c.id == first.id).values(sealed=damaged)
        await post.database.write(lambda connection, change=change: connection.execute(change) and None)
        assert await post.destinations.seal() == 0
        found = await post.destinations.get(first.id)
        assert (found.target, found.problem != "") == ("", True)
    assert (await post.destinations.get(second.id)).target == second.target
