"""Jobs of organizations that pay in another currency than prices are in."""

import pytest
from media_jobs_fakes.bench import TENANT, Bench, answer, book, command, version

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.events.v1 import usage_pb2 as events
from tollgate_media_jobs.domain.job import ImageRequest, Job, Reported
from tollgate_media_jobs.errors import MediaError
from tollgate_media_jobs.use_cases.usage_event import Picture, bill
from tollgate_rating import PICO, ChannelCost, ExchangeRate, PriceBook

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


@pytest.mark.parametrize(("image", "code"), [("9200", ""), ("9223.4", "request_too_dear")])
async def test_what_is_too_dear_in_the_currency_of_its_price_is_refused(image, code):
    """Its usage event says both amounts; by the rate it is 1,300 USD, which would be no reason."""
    yuan = PriceBook(name="public", effective_us=0, currency="CNY", models={"gpt-image-1": {"image": image}})
    back = ExchangeRate(base="CNY", quote="USD", rate="0.14", effective_us=0)
    bench = Bench(wallet=10**16)
    bench.versions.version = version(books=[yuan], rates=[back])
    if not code:
        job = await bench.create(command(currency="USD"))
        assert job.hold_pico >= 9200 * 14 * 10**10
        return
    with pytest.raises(MediaError, match="too much") as found:
        await bench.create(command(currency="USD"))
    assert found.value.code == code
    assert not bench.holds.held


@pytest.mark.parametrize(("image", "unpriced", "charge_pico"), [("9300", True, 0), ("1", False, 14 * 10**10)])
def test_what_is_beyond_an_amount_before_its_conversion_has_no_price(image, unpriced, charge_pico):
    """Of a job that an earlier release admitted; what is beyond it of our cost alone takes no charge away."""
    yuan = PriceBook(name="public", effective_us=0, currency="CNY", models={"m": {"image": image}})
    own = PriceBook(name="cost", effective_us=0, currency="CNY", models={"m": {"image": "9300"}}).price("m", "")
    back = ExchangeRate(base="CNY", quote="USD", rate="0.14", effective_us=0)
    made = Job("job_1", "req_1", TENANT, "m", ImageRequest("a"), 0, 0, 0, exchange_rate=back.canonical().decode())
    charged = bill(made, yuan, [Picture("1x1", "")], Reported(), ChannelCost({"m": own}, PICO))
    assert (charged.unpriced, charged.charge_pico, charged.cost_pico) == (unpriced, charge_pico, charge_pico)


async def test_the_books_own_currency_needs_none():
    bench = Bench()
    job = await bench.create(command(currency="USD"))
    assert (job.currency, job.exchange_rate) == ("USD", "")
