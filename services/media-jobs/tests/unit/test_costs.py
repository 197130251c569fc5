"""What a job costs us: what its channel's account pays, beside what its caller pays by the price book."""

from dataclasses import replace

import pytest
from media_jobs_fakes.bench import Bench, answer, book, command, version

from tollgate.events.v1 import usage_pb2 as events
from tollgate_rating import PICO, ChannelCost, ExchangeRate, PriceBook

pytestmark = pytest.mark.unit

RATE = ExchangeRate(base="USD", quote="CNY", rate="7.1", effective_us=0)
MODEL = "gpt-image-1"
# A small picture, by the book.
LOW = 11 * 10**9


def own(**units):
    """What an account pays: prices of its own, `__` for a colon."""
    prices = {unit.replace("__", ":"): price for unit, price in units.items()}
    price = PriceBook(name="cost", effective_us=0, currency="USD", models={MODEL: prices}).price(MODEL, "")
    return ChannelCost({MODEL: price}, PICO)


async def event_of(costs, *, tokens=None, currency="USD", rates=(), books=None):
    bench = Bench()
    bench.versions.version = replace(version(rates=rates, books=books), costs=costs)
    bench.provider.script = [answer(tokens=tokens)]
    await bench.create(command(currency=currency))
    await bench.work()
    await bench.publish.send()
    (event,) = [events.UsageRecorded.FromString(payload) for _, _, payload in bench.event_log.sent]
    return event


@pytest.mark.parametrize(
    ("costs", "paid"),
    [
        ({}, LOW),
        ({"another": own(image="9")}, LOW),
        ({"main": own(image="0.002")}, 2 * 10**9),
        ({"main": own(image="0.002", image__1024x1024__low="0.001")}, 10**9),
        ({"main": ChannelCost({}, PICO // 2)}, LOW // 2),
        # A unit that the account has no price for costs what the list says.
        ({"main": own(search="1")}, LOW),
    ],
)
async def test_the_cost_is_what_the_channels_account_pays(costs, paid):
    event = await event_of(costs)
    assert (event.charge_pico, event.cost_pico) == (LOW, paid)


async def test_an_account_may_pay_for_tokens_where_the_caller_pays_for_the_picture():
    event = await event_of({"main": own(input="2", output="10")}, tokens={"input": 50, "image_output": 400})
    assert (event.charge_pico, event.cost_pico) == (LOW + 250 * 10**6, (2 * 50 + 10 * 400) * 10**6)
    tokens = PriceBook(
        name="public", effective_us=0, currency="USD", models={MODEL: {"input": "5", "image_output": "40"}}
    )
    event = await event_of({"main": own(image="0.002")}, tokens={"input": 50, "image_output": 400}, books=(tokens,))
    assert (event.charge_pico, event.cost_pico) == ((5 * 50 + 40 * 400) * 10**6, 2 * 10**9)


async def test_the_cost_is_converted_as_the_charge_is():
    event = await event_of({"main": own(image="0.002")}, currency="CNY", rates=[RATE], books=(book(),))
    assert (event.charge_pico, event.cost_pico) == (LOW * 71 // 10, 2 * 10**8 * 71)
    conversion = event.conversion
    assert (conversion.list_charge_pico, conversion.provider_cost_pico) == (LOW, 2 * 10**9)
