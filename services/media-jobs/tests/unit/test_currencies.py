"""Jobs of organizations that pay in another currency than prices are in."""

import pytest
from media_jobs_fakes.bench import Bench, answer, book, command, version

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.events.v1 import usage_pb2 as events
from tollgate_media_jobs.errors import MediaError
from tollgate_rating import ExchangeRate

pytestmark = pytest.mark.unit

RATE = ExchangeRate(base="USD", quote="CNY", rate="7.1", effective_us=0)
# A small picture, in the book's currency.
LOW = 11_000_000_000


async def test_hold_and_charge_are_in_the_organizations_currency_by_the_rate_of_its_creation():
    bench = Bench()
    bench.versions.version = version(rates=[RATE])
    bench.provider.script = [answer()]
    job = await bench.create(command(currency="CNY"))
    assert (job.currency, job.exchange_rate) == ("CNY", RATE.canonical().decode())
    assert job.hold_pico >= LOW * 71 // 10
    # A later rate changes nothing for a job that is there.
    bench.versions.version = version(rates=[ExchangeRate(base="USD", quote="CNY", rate="9", effective_us=0)])
    await bench.work()
    await bench.publish.send()
    (event,) = [events.UsageRecorded.FromString(payload) for _, _, payload in bench.event_log.sent]
    assert (event.charge_pico, event.cost_pico, event.currency) == (LOW * 71 // 10, LOW * 71 // 10, "CNY")
    assert event.tenant.currency == "CNY"
    assert event.hold_pico == job.hold_pico
    assert (event.price_digest, event.conversion.rate_digest) == (book().digest, RATE.digest)
    conversion = event.conversion
    assert (conversion.list_currency, conversion.list_charge_pico) == ("USD", LOW)
    assert (conversion.provider_currency, conversion.provider_cost_pico) == ("USD", LOW)


async def test_without_a_rate_nothing_is_held_or_begun():
    bench = Bench()
    with pytest.raises(MediaError, match="from USD to CNY") as found:
        await bench.create(command(currency="CNY"))
    assert (found.value.kind, found.value.code) == (errors.ERROR_KIND_UNAVAILABLE, "no_exchange_rate")
    assert not bench.memory.jobs
    assert not bench.holds.held


async def test_the_books_own_currency_needs_none():
    bench = Bench()
    job = await bench.create(command(currency="USD"))
    assert (job.currency, job.exchange_rate) == ("USD", "")
