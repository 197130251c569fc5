"""What is taken for a usage event, and what is poison."""

import pytest
from services.billing.tests.fakes.events import NOW_US, usage_event

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.domain.event import DAY_US, MAX_AMOUNT_PICO, decode, decode_all
from tollgate_billing.domain.fields import columns_of
from tollgate_billing.errors import Poison
from tollgate_kit.event_log import Stored
from tollgate_rating import MAX_CHARGE_PICO

pytestmark = pytest.mark.unit


def test_a_good_event_is_decoded_with_its_units():
    event = decode(usage_event(input_tokens=7, output_tokens=0).SerializeToString(), 3, NOW_US)
    assert (event.offset, event.units, event.rank, event.exceptional) == (3, {"input": 7}, (2, 1), False)


def test_images_are_units_by_size_and_quality():
    usage = wire.Usage(
        images=[
            wire.ImageCount(size="1024x1024", quality="high", count=2),
            wire.ImageCount(size="512x512", count=1),
            wire.ImageCount(count=3),
        ],
        requests=1,
    )
    event = decode(usage_event(usage=usage).SerializeToString(), 0, NOW_US)
    assert event.units == {
        "image:1024x1024:high": 2,
        "image:512x512": 1,
        "image": 3,
        "request": 1,
    }
    assert (event.counted.images, event.counted.extra) == (6, {"image:1024x1024:high": 2, "image:512x512": 1})


def test_what_edge_admits_can_be_booked():
    event = decode(usage_event(charge_pico=MAX_CHARGE_PICO, cost_pico=MAX_CHARGE_PICO).SerializeToString(), 0, NOW_US)
    assert event.fields.charge_pico == 9223372036854775


def tenant(**changes):
    return wire.Tenant(**{"organization_id": "org", "project_id": "project", "api_key_id": "key"} | changes)


BAD = [
    ({"event_id": b"short"}, "event_id"),
    ({"request_id": ""}, "request_id"),
    ({"request_id": "r" * 300}, "request_id"),
    ({"request_id": "r\0"}, "request_id has a NUL"),
    ({"request_id": "名" * 86}, "request_id has 258 bytes"),
    ({"tenant": wire.Tenant()}, "organization_id"),
    ({"tenant": tenant(organization_id="o" * 257)}, "organization_id"),
    ({"tenant": tenant(organization_id="o\0")}, "organization_id"),
    ({"tenant": tenant(project_id="p" * 257)}, "project_id"),
    ({"tenant": tenant(project_id="\0p")}, "project_id"),
    ({"tenant": tenant(api_key_id="k" * 257)}, "api_key_id"),
    ({"client_network": "n" * 257}, "client_network"),
    ({"model": "m" * 257}, "model"),
    ({"model": "a\0b"}, "model"),
    ({"price_digest": "sha256:" + "d" * 122}, "price_digest"),
    ({"price_digest": "\0"}, "price_digest"),
    ({"conversion": events.Conversion(rate_digest="d" * 129, list_currency="USD")}, "rate_digest"),
    ({"conversion": events.Conversion(rate_digest="\0", list_currency="USD")}, "rate_digest"),
    ({"status": 0}, "status"),
    ({"status": 77}, "status"),
    ({"source": 0}, "source"),
    ({"try": 0}, "try"),
    ({"try": 300}, "try"),
    ({"charge_pico": -1}, "charge_pico"),
    ({"cost_pico": MAX_AMOUNT_PICO + 1}, "cost_pico"),
    ({"currency": ""}, "currency"),
    *(({"currency": text}, "currency") for text in ("usd", "US", "USDT", "US\0", "USD\n", "ＵＳＤ")),
    ({"unpriced": True}, "no price"),
    ({"final": False, "charge_pico": 5}, "not final"),
    ({"started_at_us": NOW_US + 2 * 3600 * 10**6}, "started_at_us"),
    ({"started_at_us": NOW_US - 91 * 24 * 3600 * 10**6}, "started_at_us"),
    ({"ended_at_us": 0}, "ended_at_us"),
    ({"usage": wire.Usage(input_tokens=2**63)}, "more than one request"),
]
# Just inside of what is refused.
GOOD = [
    {},
    {"request_id": "r" * 256},
    {"request_id": "名" * 85},
    {"tenant": tenant(organization_id="o" * 256, project_id="p" * 256, api_key_id="k" * 256)},
    {"tenant": tenant(project_id="", api_key_id="")},
    {"model": "名" * 256},
    {"price_digest": "d" * 128},
    {"conversion": events.Conversion(rate_digest="d" * 128, list_currency="USD")},
    {"currency": "CNY"},
    {"try": 255, "attempt": 255},
    {"status": 2, "replay": True},
    {"charge_pico": MAX_AMOUNT_PICO, "cost_pico": MAX_AMOUNT_PICO},
    {"charge_pico": 0, "cost_pico": 0, "currency": ""},
    {"unpriced": True, "charge_pico": 0},
    {"final": False, "charge_pico": 0},
    {"started_at_us": NOW_US + 3600 * 10**6, "ended_at_us": NOW_US},
    {"started_at_us": NOW_US - 90 * DAY_US},
    {"ended_at_us": NOW_US + 3600 * 10**6},
    {"usage": wire.Usage(output_tokens=2**40, requests=2**40)},
    {"usage": wire.Usage(images=[wire.ImageCount(size="512x512", count=2)], units={"search": 3})},
    {"usage": wire.Usage(units={"input": 2**40})},
]
WORSE = [
    {"tenant": wire.Tenant(organization_id="o" * 257)},
    {"attempt": 256},
    {"charge_pico": MAX_AMOUNT_PICO + 1},
    {"cost_pico": -1},
    {"hold_pico": -1},
    {"charge_pico": 0, "currency": ""},
    {"ended_at_us": NOW_US + 3601 * 10**6},
    {"started_at_us": NOW_US + 3600 * 10**6, "ended_at_us": NOW_US - 1},
    {"usage": wire.Usage(requests=2**40 + 1)},
    {"usage": wire.Usage(input_tokens=2**40, units={"input": 1})},
    {"conversion": events.Conversion(rate_digest="sha256:rate", list_charge_pico=3)},
    {"conversion": events.Conversion(list_charge_pico=-1, list_currency="USD", provider_currency="USD")},
]


@pytest.mark.parametrize(("changes", "word"), BAD)
def test_an_event_that_cannot_be_booked_is_poison_and_says_why(changes, word):
    with pytest.raises(Poison, match=word):
        decode(usage_event(**changes).SerializeToString(), 0, NOW_US)


@pytest.mark.parametrize("value", [b"\xff\xff\xff", b"not protobuf at all", b"\x0a\x7f"])
def test_bytes_that_are_no_message_are_poison(value):
    with pytest.raises(Poison):
        decode(value, 0, NOW_US)


def test_fields_of_a_newer_release_are_no_reason_to_refuse():
    newer = usage_event().SerializeToString() + b"\xf2\x3f\x03new"
    assert decode(newer, 0, NOW_US).request_id == "req"


def test_a_status_that_is_appended_counts():
    event = usage_event(status=0)
    appended = event.SerializeToString() + type(event)(status=2, replay=True).SerializeToString()
    found = decode(appended, 0, NOW_US)
    assert (found.rank, found.exceptional) == ((1, 1), True)


def one_by_one(records):
    """Returns what `decode` says of each record."""
    found, poison = [], []
    for place, record in enumerate(records):
        try:
            found.append(decode(record.value, record.offset, record.at_us))
        except Poison as error:
            poison.append((place, str(error)))
    return found, columns_of([event.fields for event in found]), poison


@pytest.mark.parametrize("bad", [*(changes for changes, _ in BAD), *WORSE, b"\xff\xff\xff"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_poison_among_many_is_found_and_its_neighbours_are_not_changed(bad, place):
    values = [usage_event("a").SerializeToString(), usage_event("b", output_tokens=3).SerializeToString()]
    values.insert(place, bad if isinstance(bad, bytes) else usage_event("bad", **bad).SerializeToString())
    records = [Stored(None, 7 + number, NOW_US, b"", value) for number, value in enumerate(values)]
    found = decode_all(records)
    assert found == one_by_one(records)
    assert [number for number, _ in found[2]] == [place]


def test_many_events_are_decoded_as_each_alone():
    records = [
        Stored(None, number, NOW_US, b"", usage_event(**{"request": f"r{number}"} | changes).SerializeToString())
        for number, changes in enumerate(GOOD)
    ]
    found = decode_all(records)
    assert found == one_by_one(records)
    assert (len(found[0]), found[2]) == (len(GOOD), [])
    assert decode_all([]) == one_by_one([])
