"""Attempts of several calls: how many at once, their replies in order, and what ends all of them."""

import asyncio
import json
from dataclasses import replace

import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.versions import channel, route, snapshot

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_resources import Limits
from tollgate_router.domain.dialects.translate import Sending
from tollgate_router.domain.failure import FailureKind
from tollgate_router.domain.health.quota import Quota
from tollgate_router.domain.target import WIRE_BEDROCK
from tollgate_router.exchange.dispatching import dispatch
from tollgate_router.upstream.client import Timeouts

pytestmark = pytest.mark.unit
TITAN = "amazon.titan-embed-text-v2:0"


class Sink:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []
        self.ended = asyncio.Event()

    def upstream_head(self, status, headers):
        """Takes it."""
        self.told.append(("head", status, headers))

    def upstream_data(self, data):
        """Takes it."""
        self.told.append(("data", data))

    def upstream_end(self):
        """Takes it."""
        self.told.append(("end",))

    def upstream_failed(self, failure):
        """Takes it."""
        self.told.append(("failed", failure.kind))
        self.ended.set()


@pytest.fixture
def router(tmp_path):
    return Router(tmp_path, snapshot([channel("a")], [route("able", ["a"])]), max_reply_bytes=1_000_000)


def send(router, count, total=60.0):
    sink = Sink()
    asked = Sending(b"/x", b"", None, lambda body: (None, body), bodies=tuple(b"%d" % n for n in range(count)))
    (target,) = router.deps.snapshot.route("default", "able").base.levels[0].targets
    return sink, dispatch(router.deps, target, asked, (), sink, Timeouts(total=total))


def sent(router):
    return [call.body for call in router.upstream.calls]


async def test_eight_at_once_and_the_replies_in_order(router):
    sink, _ = send(router, 11)
    assert sent(router) == [b"%d" % n for n in range(8)]
    router.upstream.calls[7].reply(body=b'"7"', x_amzn_bedrock_input_token_count="5")
    assert sent(router)[8:] == [b"8"]
    for number in (0, 1, 2, 3, 4, 5, 6, 8, 9, 10):
        assert sink.told == []
        router.upstream.calls[number].reply(body=b'"%d"' % number)
    (_, status, headers), (_, body), last = sink.told
    assert (status, headers, last) == (200, [], ("end",))
    found = json.loads(body)
    assert [one["reply"] for one in found] == [str(n) for n in range(11)]
    assert [one["input_tokens"] for one in found] == [None] * 7 + [5] + [None] * 3


@pytest.mark.parametrize("count", ["", "-1", "many", "1" * 11])
async def test_a_count_that_is_none_is_null(router, count):
    sink, _ = send(router, 1)
    router.upstream.calls[0].reply(body=b"{}", x_amzn_bedrock_input_token_count=count)
    assert json.loads(sink.told[1][1]) == [{"input_tokens": None, "reply": {}}]


async def test_an_error_of_one_is_that_of_all_and_ends_them(router):
    sink, _ = send(router, 9)
    router.upstream.calls[3].reply(429, b'{"message":"slow down"}', retry_after="7")
    assert sink.told == [("head", 429, [(b"retry-after", b"7")]), ("data", b'{"message":"slow down"}'), ("end",)]
    assert [call.cancelled for call in router.upstream.calls] == [True] * 8
    assert len(router.upstream.calls) == 8


async def test_a_broken_one_ends_all(router):
    sink, _ = send(router, 2)
    router.upstream.calls[1].fail(FailureKind.CUT)
    assert sink.told == [("failed", FailureKind.CUT)]
    assert router.upstream.calls[0].cancelled


async def test_who_gives_up_hears_nothing_more(router):
    sink, call = send(router, 9)
    call.pause()
    call.resume()
    call.cancel()
    assert all(one.cancelled for one in router.upstream.calls)
    assert (len(router.upstream.calls), sink.told) == (8, [])


async def test_all_of_them_have_one_time(router):
    sink, _ = send(router, 2, total=0.0)
    await asyncio.wait_for(sink.ended.wait(), 30)
    assert sink.told == [("failed", FailureKind.TOTAL_TIMEOUT)]
    assert all(one.cancelled for one in router.upstream.calls)


async def test_what_is_kept_of_replies_has_a_limit(router):
    sink, _ = send(router, 3)
    router.upstream.calls[0].reply(body=b" " * 600_000)
    router.upstream.calls[1].sink.upstream_head(200, [])
    router.upstream.calls[1].sink.upstream_data(b" " * 400_001)
    assert sink.told == [("failed", FailureKind.PROTOCOL)]
    assert router.upstream.calls[2].cancelled


async def test_each_counts_against_what_the_account_allows(router):
    (target,) = router.deps.snapshot.route("default", "able").base.levels[0].targets
    target.seat.channel.quota = Quota(Limits(requests_per_minute=3))
    # The attempt itself is counted where it begins.
    target.seat.begin(router.clock.monotonic(), first=True)
    send(router, 3)
    assert target.seat.channel.quota.exceeded(router.clock.monotonic(), 0) is not None


def at_bedrock(router):
    """Puts Titan behind the router's model."""
    level = router.deps.snapshot.route("default", "able").base.levels[0]
    level.targets = [replace(level.targets[0], wire=WIRE_BEDROCK, platform="bedrock", upstream_model=TITAN)]
    return level.targets[0]


async def test_a_request_of_several_calls_is_one_attempt_with_one_usage(router):
    at_bedrock(router)
    router.open(body=b'{"input":["a","b"]}', operation=wire.OPERATION_EMBEDDINGS)
    for number, call in enumerate(router.upstream.calls):
        call.reply(body=b'{"embedding":[%d],"inputTextTokenCount":2}' % number)
    found = router.end()
    assert [one["embedding"] for one in json.loads(found.data)["data"]] == [[0], [1]]
    (event,) = router.events
    assert (event.outcome, event.usage.input_tokens, event.estimated) == (wire.OUTCOME_OK, 4, False)
    assert router.open_calls() == 0


async def test_a_request_whose_second_call_is_refused_ends_with_that_error(router):
    at_bedrock(router)
    router.open(body=b'{"input":["a","b"]}', operation=wire.OPERATION_EMBEDDINGS)
    router.upstream.calls[0].reply(body=b'{"embedding":[1],"inputTextTokenCount":2}')
    body = b'{"message":"Malformed input request"}'
    router.upstream.calls[1].reply(400, body, x_amzn_errortype="ValidationException:x")
    assert router.end().error.kind == errors.ERROR_KIND_INVALID_REQUEST
    assert router.open_calls() == 0
