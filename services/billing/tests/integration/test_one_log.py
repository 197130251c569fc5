"""Billing processes of one Kafka log, one ledger and one store: who stands still, comes and goes changes nothing."""

import asyncio

import clickhouse_connect
import pytest
from services.billing.tests.integration.groups import Group, forget_topics
from services.billing.tests.integration.running import BillingProcess, send, servers_of
from services.billing.tests.integration.test_crash import FUNDS, check, events_of

pytestmark = pytest.mark.integration

SESSION_SECONDS = 2
STEPS = ("after_intent", "after_insert", "after_ledger", "after_redis", "before_commit")
# There a process has the turn to change wallets: nobody else books before it goes on.
IN_TURN = ("after_ledger", "after_redis")
TAKES_OVER = "batches of an earlier process are finished first"
LOST = "a partition is lost"
DUPLICATES = "SELECT sum(value) FROM system.events WHERE event = 'DuplicatedInsertedBlocks'"


@pytest.fixture
def servers(request, tmp_path, valkey):
    """The servers of the cluster profile, where a member that says nothing is soon given up."""
    valkey.clear()
    made = servers_of("cluster", request, tmp_path, valkey)
    made["TOLLGATE_BILLING_EVENT_LOG_URL"] += f"&session_seconds={SESSION_SECONDS}"
    return made


@pytest.fixture
def started(servers, tmp_path):
    """Makes processes of the same servers: `started(name, slot)`."""
    made = []

    def process(name, slot):
        directory = tmp_path / name
        directory.mkdir()
        made.append(BillingProcess(directory, servers | {"TOLLGATE_BILLING_SLOT": str(slot)}))
        return made[-1]

    yield process
    for one in made:
        one.clean()


class Story:
    """Events in parts, the sum that is charged for all of them and how many rows they make."""

    def __init__(self, servers, seed, parts):
        self._url = servers["TOLLGATE_BILLING_EVENT_LOG_URL"]
        events, self.charged, self.rows = events_of(seed)
        size = -(-len(events) // parts)
        self._parts = [events[first : first + size] for first in range(0, len(events), size)]

    async def goes_on(self):
        """Appends the next part to the log."""
        await send(self._url, self._parts.pop(0))

    async def ends(self):
        """Appends all that is left."""
        while self._parts:
            await self.goes_on()


async def test_a_process_that_stood_still_past_its_session_changes_nothing(started, servers, fresh_kafka):
    first, second = started("first", 0), started("second", 1)
    story = Story(servers, 32, 2 * len(STEPS) + 1)
    store = clickhouse_connect.get_client(dsn=servers["TOLLGATE_BILLING_CLICKHOUSE_DSN"])
    second.start()
    client, other = second.client(), first.client()
    await client.grant(FUNDS)
    await client.ready()
    async with Group(fresh_kafka) as group:
        for step in STEPS:
            first.start(f"{step}:stop")
            await other.ready()
            # A machine that is slow may have lost its session before; what counts is what comes from here on.
            taken_over = second.log().count(TAKES_OVER)
            await story.goes_on()
            await first.stands_still()
            # Its session is over, and the other one has what it had.
            await group.has(1)
            await second.says(TAKES_OVER, taken_over + 1)
            await story.goes_on()
            if step not in IN_TURN:
                await group.has_booked()
            before = store.query(DUPLICATES).result_rows[0][0]
            lost = first.log().count(LOST)
            first.go_on()
            await first.says(LOST, lost + 1)
            await group.has(2)
            await group.has_booked()
            if step == "after_intent":
                # It wrote what the other one had written long ago, and the store knew it by its token.
                assert store.query(DUPLICATES).result_rows[0][0] > before
            first.kill()
        await story.ends()
        await group.has_booked()
    await check(client, story.charged, story.rows)
    await client.close()
    await other.close()
    store.close()
    assert second.stop() == 0


async def test_a_process_in_whose_place_another_was_started_changes_nothing(started, servers, fresh_kafka):
    """A supervisor gives up on one that hangs: the other has its name in the group, and goes on at once."""
    story = Story(servers, 31, 4)
    hung, fresh = started("hung", 0), started("fresh", 0)
    hung.start("after_intent:stop")
    client = hung.client()
    await client.grant(FUNDS)
    await client.ready()
    await story.goes_on()
    await hung.stands_still()
    await client.close()
    fresh.start()
    client = fresh.client()
    await fresh.says(TAKES_OVER)
    async with Group(fresh_kafka) as group:
        await story.goes_on()
        await group.has_booked()
        hung.go_on()
        await hung.says(LOST)
        hung.kill()
        await story.ends()
        await group.has_booked()
    await check(client, story.charged, story.rows)
    await client.close()
    assert fresh.stop() == 0


async def test_members_come_and_go_in_the_middle_of_a_batch(started, servers, fresh_kafka):
    first, second = started("first", 0), started("second", 1)
    story = Story(servers, 33, 4)
    first.start()
    second.start("after_insert:stop")
    client, other = second.client(), first.client()
    await client.grant(FUNDS)
    await client.ready()
    await other.ready()
    async with Group(fresh_kafka) as group:
        first.stand_still()
        await group.has(1)
        alone = await group.members()
        await story.goes_on()
        await second.stands_still()
        # One comes back while the other has a batch that is written and not booked.
        first.go_on()
        await group.is_no_longer(alone)
        second.go_on()
        await group.has(2)
        await group.has_booked()
        # One is told to end while it has a batch that is begun and not written.
        first.kill()
        first.start("after_intent:stop")
        await other.ready()
        await story.goes_on()
        await first.stands_still()
        first.process.terminate()
        first.go_on()
        assert await first.died() == 0
        await story.ends()
        await group.has_booked()
    await check(client, story.charged, story.rows)
    await client.close()
    await other.close()
    assert second.stop() == 0


async def test_a_topic_that_is_made_again_is_booked_from_its_beginning(started, servers, fresh_kafka):
    """Its records have the offsets of the old ones: only the id of the topic tells them apart."""
    stories = Story(servers, 34, 1), Story(servers, 35, 1)
    billing = started("first", 0)
    client = billing.client()
    for story in stories:
        assert billing.stop() in {0, None}
        await asyncio.to_thread(forget_topics, fresh_kafka)
        await story.ends()
        billing.start()
        await client.grant(FUNDS)
        await client.ready()
        async with Group(fresh_kafka) as group:
            await group.has_booked()
    # Both have sixty requests, and each is booked to the last unit.
    charged = sum(story.charged for story in stories)
    total, balance = await client.total(), await client.balance()
    assert (total.requests, total.charge_pico) == (120, charged)
    assert (balance.ledger_pico, balance.wallet_pico) == (FUNDS - charged, FUNDS - charged)
    usage = "SELECT count() FROM usage_events WHERE kind = 'usage'"
    assert await client.sql(usage) == [[sum(story.rows for story in stories)]]
    await client.close()
    assert billing.stop() == 0
