"""What edge does for routing: it passes on the headers that routes look at, and asks for a cheaper model by budget."""

import pytest
from services.edge.tests.fakes.door import clean
from services.edge.tests.fakes.inference import MODEL, Bench, chat

from tollgate_edge.ports import EdgeModel, EdgeVersion
from tollgate_holds import HoldResult
from tollgate_rating import PriceBook, PriceTable

pytestmark = pytest.mark.integration

PRICES = {MODEL: {"input": "10", "output": "10"}, "cheap": {"output": "1"}, "cheapest": {"output": "0.1"}, "dear": {}}
PRICES["dear"] = {"output": "100"}
LITTLE, DONE = HoldResult.INSUFFICIENT, HoldResult.DONE


def version(*, headers=(), **more):
    book = PriceBook(name="public", effective_us=0, currency="USD", models=PRICES)
    models = {name: EdgeModel(name, "chat", "tests", 0, max_output=1000) for name in PRICES}
    models[MODEL] = EdgeModel(MODEL, "chat", "tests", 0, max_output=1000, **more)
    return EdgeVersion("sha256:1", 1, PriceTable([book]), {"default": models}, headers)


async def test_only_the_headers_that_routes_look_at_are_passed_on(bench):
    client = await bench.client()
    extra = {b"x-session": b"7", b"x-other": b"8", b"authorization-extra": b"9"}
    lines = b"".join(b"%b: %b\r\n" % pair for pair in extra.items())
    request = chat().replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n", 1)
    client.send(request)
    frame = await bench.stream.next()
    assert list(frame.headers) == []
    bench.stream.reply(frame.id, b"{}")
    await client.reply()
    bench.version = version(headers=(b"x-session", b"x-tollgate-region"))
    client.send(request)
    frame = await bench.stream.next()
    assert [(header.name, header.value) for header in frame.headers] == [(b"x-session", b"7")]
    bench.stream.reply(frame.id, b"{}")
    await client.reply()


async def test_the_hold_is_for_the_dearest_model_that_may_answer(bench):
    client = await bench.client()
    amounts = []
    for fallbacks in ((), ("cheap",), ("dear", "cheap", "unpriced")):
        bench.version = version(fallbacks=fallbacks)
        client.send(chat())
        frame = await bench.stream.next()
        bench.stream.reply(frame.id, b"{}")
        await client.reply()
        amounts.append(bench.admission.amounts[-1])
    assert amounts[0] == amounts[1]
    assert amounts[2] >= 9 * amounts[0]


BUDGETS = {
    "enough": ([DONE], (MODEL, "")),
    "too little for the first": ([LITTLE, DONE], ("cheap", MODEL)),
    "too little for the second": ([LITTLE, LITTLE, DONE], ("cheapest", MODEL)),
}


@pytest.mark.parametrize(("results", "asked"), BUDGETS.values(), ids=BUDGETS.keys())
async def test_a_cheaper_model_is_asked_when_the_balance_is_too_low(bench, results, asked):
    bench.version = version(cheaper=("cheap", "cheapest"))
    bench.admission.results = list(results)
    client = await bench.client()
    client.send(chat())
    frame = await bench.stream.next()
    assert (frame.model, frame.requested_model) == asked
    assert len(set(bench.admission.held)) == 1
    assert bench.admission.amounts == sorted(bench.admission.amounts, reverse=True)
    bench.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200
    assert len(bench.admission.settled) == 1


async def test_without_a_model_that_is_cheap_enough_the_request_is_refused(bench):
    bench.version = version(cheaper=("cheap",))
    bench.admission.results = [LITTLE, LITTLE]
    client = await bench.client()
    client.send(chat())
    status, _, body = await client.reply()
    assert status == 429
    assert b"insufficient_quota" in body
    assert len(bench.admission.held) == 2


@pytest.fixture
async def poor():
    """Edge with nearly empty wallets that are good for an answer of ten tokens."""
    async with Bench(trimmed_hold_tokens=10).serving() as made:
        made.version = version()
        yield made
        await clean(made)


async def refusal(client):
    status, _, body = await client.reply()
    return status, b"insufficient_quota" in body


async def test_a_nearly_empty_wallet_is_held_as_a_whole_where_it_covers_a_short_answer(poor):
    poor.admission.results, poor.admission.wallet = [LITTLE], 10**15
    client = await poor.client()
    # What was free a moment later would have covered all of it: the next try of the caller finds that.
    client.send(chat())
    assert await refusal(client) == (429, True)
    (worst,) = poor.admission.amounts
    for left in (None, -1, 0, 10 * 10 * 10**6):
        poor.admission.results, poor.admission.wallet = [LITTLE], left
        client.send(chat())
        assert await refusal(client) == (429, True)
    assert poor.admission.amounts == [worst] * 5
    poor.admission.results, poor.admission.wallet = [LITTLE], worst - 1
    client.send(chat())
    frame = await poor.stream.next()
    assert (frame.hold_pico, poor.admission.amounts[-2:]) == (worst - 1, [worst, worst - 1])
    poor.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200
    assert len(poor.admission.settled) == 1
    # Somebody was faster: what is left is asked for once.
    poor.admission.results = [LITTLE, LITTLE]
    client.send(chat())
    assert await refusal(client) == (429, True)


async def test_without_the_setting_nothing_is_trimmed(bench):
    bench.version = version()
    bench.admission.results, bench.admission.wallet = [LITTLE], 10**9
    client = await bench.client()
    client.send(chat())
    assert await refusal(client) == (429, True)
    assert len(bench.admission.held) == 1
