"""Ports to the outside: one suite each, for the fake that the unit tests use and for the real adapter."""

import random

import pytest
from media_jobs_fakes.images import png
from media_jobs_fakes.outside import FakeEventLog, FakeFetcher, FakeHolds, FakeProvider

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_holds.holds import Holds
from tollgate_kit.event_log import new_consumer, new_producer
from tollgate_media_jobs.adapters.credentials import Credentials
from tollgate_media_jobs.adapters.egress import EgressClients
from tollgate_media_jobs.adapters.event_log import ProducerEventLog
from tollgate_media_jobs.adapters.holds import WalletHolds
from tollgate_media_jobs.adapters.providers.fetcher import HttpFetcher
from tollgate_media_jobs.adapters.providers.openai_images import OpenAIImages
from tollgate_media_jobs.domain.channels import Channel, Target
from tollgate_media_jobs.domain.job import ImageRequest, Message, Reported
from tollgate_media_jobs.errors import AnswerLost, Failure, FetchFailed, FetchRefused, HoldsUnavailable, Refused
from tollgate_media_jobs.ports import Answer, Drawn, HoldState
from tollgate_resources.ports import DEFAULT_PORTS, Ports

pytestmark = pytest.mark.integration

DOLLAR = 10**12


# Money set aside.


class FakeMoney:
    """One wallet `org_a` with a dollar."""

    def __init__(self):
        self.port = FakeHolds(org_a=DOLLAR)

    async def balance(self):
        return self.port.wallets["org_a"]

    async def expire(self, hold_id):
        self.port.expire("org_a", hold_id)

    async def go_away(self):
        self.port.away = True

    async def close(self):
        pass


class RedisMoney:
    """The same in Valkey. A hold that was to live until a second ago is one whose time is over."""

    def __init__(self, url):
        self.redis = Holds(url)
        self.port = WalletHolds(self.redis, ttl_seconds=60)

    async def start(self):
        await self.redis.start()
        assert await self.redis.wait_ready(10)
        await self.redis.pipe.call("FLUSHALL")
        await self.redis.rebuild("org_a", DOLLAR)

    async def balance(self):
        return (await self.redis.balance("org_a")).wallet

    async def expire(self, hold_id):
        await WalletHolds(self.redis, ttl_seconds=-1).renew("org_a", hold_id)
        await self.redis.sweep("org_a", tombstone_seconds=3600, overdue_seconds=3600)

    async def go_away(self):
        await self.redis.close()

    async def close(self):
        await self.redis.close()


@pytest.fixture(params=["fake", "redis"])
async def money(request):
    made = FakeMoney() if request.param == "fake" else RedisMoney(request.getfixturevalue("valkey").url)
    if request.param == "redis":
        await made.start()
    yield made
    await made.close()


async def test_a_hold_takes_money_once_and_its_release_gives_it_back(money):
    holds = money.port
    for _ in range(2):
        assert await holds.hold("org_a", "req_1", 3 * DOLLAR // 4) is HoldState.HELD
        assert await money.balance() == DOLLAR // 4
    assert await holds.renew("org_a", "req_1") is HoldState.HELD
    assert await holds.hold("org_a", "req_2", DOLLAR // 2) is HoldState.INSUFFICIENT
    await holds.release("org_a", "req_1")
    assert await money.balance() == DOLLAR
    assert await holds.renew("org_a", "req_1") is HoldState.GONE
    await holds.release("org_a", "req_1")
    assert await money.balance() == DOLLAR


async def test_who_has_no_wallet_and_what_was_never_held(money):
    assert await money.port.hold("org_b", "req_1", 1) is HoldState.NO_WALLET
    assert await money.port.renew("org_a", "req_9") is HoldState.GONE
    await money.port.release("org_a", "req_9")
    assert await money.balance() == DOLLAR


async def test_a_hold_whose_time_is_over_does_not_come_back(money):
    assert await money.port.hold("org_a", "req_1", DOLLAR) is HoldState.HELD
    await money.expire("req_1")
    assert await money.balance() == DOLLAR
    assert await money.port.renew("org_a", "req_1") is HoldState.GONE
    assert await money.port.hold("org_a", "req_1", DOLLAR) is HoldState.GONE


async def test_without_redis_nothing_is_known_of_holds(money):
    await money.go_away()
    for call in (
        lambda: money.port.hold("org_a", "req_1", 1),
        lambda: money.port.renew("org_a", "req_1"),
        lambda: money.port.release("org_a", "req_1"),
    ):
        with pytest.raises(HoldsUnavailable):
            await call()


# What a provider's answer points to.


@pytest.fixture
async def clients():
    made = EgressClients(Ports(DEFAULT_PORTS, "THE_PORTS"), ca_file=None, connect_seconds=2, total_seconds=5)
    yield made
    await made.close()


class FakePages:
    def __init__(self):
        self.port = FakeFetcher()
        self.base_url = "http://pages.test"

    def answers(self, path, status, body=b""):
        refused = FetchRefused(f"a result answers {status}")
        self.port.pages[self.base_url + path] = (
            body if status == 200 else FetchFailed(f"a result answers {status}") if status >= 500 else refused
        )


class RealPages:
    def __init__(self, clients, provider):
        self.port = HttpFetcher(clients, max_bytes=100_000, total_seconds=5)
        self.base_url, self.pages = provider.base_url, provider.pages

    def answers(self, path, status, body=b""):
        self.pages[path] = (status, body, {})


@pytest.fixture(params=["fake", "http"])
def pages(request, clients, provider):
    return FakePages() if request.param == "fake" else RealPages(clients, provider)


async def test_a_page_is_read_as_often_as_it_is_asked_for(pages):
    pages.answers("/a.png", 200, png(4, 4, 1))
    for _ in range(2):
        assert await pages.port.fetch(f"{pages.base_url}/a.png", private_network=True) == png(4, 4, 1)


@pytest.mark.parametrize(("status", "error"), [(500, FetchFailed), (503, FetchFailed), (404, FetchRefused)])
async def test_what_may_come_later_is_told_from_what_never_will(pages, status, error):
    pages.answers("/a.png", status)
    with pytest.raises(error):
        await pages.port.fetch(f"{pages.base_url}/a.png", private_network=True)


# One call to a provider. The prompt says what the provider on loopback does with it, the script what the fake does.

PICTURES = [png(4, 4, 0), png(4, 4, 1)]
OUTCOMES = {
    "a fox": Answer(200, [Drawn(data=PICTURES[0]), Drawn(data=PICTURES[1])], Reported()),
    "cut: a fox": AnswerLost("cut"),
    "half: a fox": AnswerLost("half"),
    "silent: a fox": AnswerLost("silent", timed_out=True),
    "bare: a fox": AnswerLost("502", status=502),
    "busy: a fox": Refused(
        Failure(errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, "x"), detail="429", elsewhere=True, again_seconds=1, status=429
    ),
    "invalid: a fox": Refused(
        Failure(errors.ERROR_KIND_INVALID_REQUEST, "x", "size", "invalid_value"), detail="400", status=400
    ),
}


@pytest.fixture(params=["fake", "openai"])
def images(request, clients):
    if request.param == "openai":
        return OpenAIImages(clients, Credentials({}, random.Random(1)), max_answer_bytes=100_000, total_seconds=1)
    return FakeProvider()


def target(base_url):
    return Target(Channel(name="main", provider="x", base_url=base_url, private_network=True), "up")


@pytest.mark.parametrize("prompt", OUTCOMES)
async def test_what_comes_of_a_call(images, provider, prompt):
    expected = OUTCOMES[prompt]
    if isinstance(images, FakeProvider):
        images.script = [expected]
    call = images.generate(target(provider.base_url), ImageRequest(prompt, count=2))
    if isinstance(expected, Answer):
        answer = await call
        assert (answer.status, [drawn.data for drawn in answer.drawn]) == (200, PICTURES)
        return
    with pytest.raises(type(expected)) as raised:
        await call
    found = raised.value
    assert found.status == expected.status
    if isinstance(expected, AnswerLost):
        assert found.timed_out is expected.timed_out
    else:
        assert (found.elsewhere, found.again_seconds) == (expected.elsewhere, expected.again_seconds)
        assert (found.failure.kind, found.failure.param, found.failure.code) == (
            expected.failure.kind,
            expected.failure.param,
            expected.failure.code,
        )


# The way into the event log.


class RealLog:
    def __init__(self, directory):
        self.url = f"sqlite:///{directory}/log.sqlite"
        self.producer = new_producer(self.url)
        self.port = ProducerEventLog(self.producer)

    async def sent(self, topics):
        found = []
        for topic in topics:
            consumer = new_consumer(self.url, "test", [topic])
            await consumer.start()
            found += [(topic, record.key, record.value) for record in await consumer.poll(100, 1)]
            await consumer.close()
        return found

    async def close(self):
        await self.producer.close()


class FakeLog:
    def __init__(self):
        self.port = FakeEventLog()

    async def sent(self, topics):
        return [one for topic in topics for one in self.port.sent if one[0] == topic]

    async def close(self):
        pass


@pytest.fixture(params=["fake", "sqlite"])
async def event_log(request, tmp_path):
    made = FakeLog() if request.param == "fake" else RealLog(tmp_path)
    yield made
    await made.close()


async def test_messages_arrive_in_their_order_by_topic(event_log):
    topics = ("usage.recorded.v1", "media.moved.v1")
    messages = [(Message(topics[number % 2], b"key_%d" % number, b""), b"payload %d" % number) for number in range(6)]
    await event_log.port.send(messages)
    await event_log.port.send([])
    assert await event_log.sent(topics) == [
        (topic, message.key, payload) for topic in topics for message, payload in messages if message.topic == topic
    ]
