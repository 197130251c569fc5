"""What becomes of an event by which billing rates a request later, and that it says all that its row said."""

from decimal import Decimal

import pytest
from services.billing.tests.fakes.events import BOOK, NOW_US, UNCONFIRMED, WITNESS, usage_event
from services.billing.tests.unit.test_judge import bounds, decide

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.routing.v1.explanation_pb2 import Explanation
from tollgate_billing.adapters.usage_store import TIMES
from tollgate_billing.domain.books import Amounts, BatchLine, amounts_of, compare
from tollgate_billing.domain.event import decode
from tollgate_billing.domain.judge import Judged
from tollgate_billing.domain.postings import transfers_of
from tollgate_billing.domain.rerated import rate_row, rerated_event
from tollgate_billing.domain.rows import rows_of, to_pico
from tollgate_billing.domain.verify import verify
from tollgate_rating import PICO, ChannelCost, ExchangeRate, PriceBook, Unpriced

pytestmark = pytest.mark.unit

FULL = PriceBook(
    name="public",
    effective_us=0,
    currency="USD",
    models={
        "m": {"input": "1", "output": "10", "search": "0.01"},
        "new": {"input": "2", "output": "8"},
        "picture": {"image": "0.02", "image:1024x1024": "0.04"},
        "drawn": {"input": "5", "image_output": "40"},
    },
)
LATER = {"unpriced", "charge", "list_charge", "cost", "provider_cost", "price_digest", "currency", "list_currency"}
LATER |= {"provider_currency", "event_id", "source", "replay", "src_offset", "src_index", "batch", "rate_digest"}


class Prices:
    def __init__(self, *books):
        self.books = {book.digest: book for book in books}

    def find(self, book, model, group, rate=""):
        return self.books[book].price(model, group) if book in self.books else None

    def knows(self, digest):
        return digest in self.books


def stored(event, offset=0):
    """Returns the row of an event as the usage store gives it."""
    (row,) = rows_of([Judged(decode(event.SerializeToString(), offset, NOW_US), exceptional=False)], bounds(0, 1), 1)
    return {f"{name}_us" if name in TIMES else name: value for name, value in row.items()}


def unpriced(name="req", **fields):
    told = {"model": "new", "unpriced": True, "charge_pico": 0, "cost_pico": 0, "currency": "", "price_digest": ""}
    return usage_event(name, **(told | fields))


def later(event, book=FULL, cost=None):
    row = stored(event)
    price = book.price(row["model"], "")
    return rerated_event(row, rate_row(row, price, price, cost))


def test_it_says_all_that_its_row_said_but_money():
    routing = Explanation(route_group="vip")
    event = unpriced(
        tenant=wire.Tenant(
            organization_id="org",
            project_id="project",
            api_key_id="key",
            price_group="vip",
            tags="a,b",
            member="ada",
            limits=[wire.Limit(kind="key", id="key_1", requests_per_minute=5)],
        ),
        estimated=True,
        stream=True,
        requested_model="other",
        fallback_reason="error",
        upstream_model="up",
        upstream_status=200,
        error_kind="cut",
        traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
        trace_kept=True,
        client_network="10.0.0.0/24",
        prompt_hash=2**64 - 1,
        media_job_id="job",
        config_digest="sha256:config",
        hold_pico=77,
        routing=routing,
        timings=wire.Timings(upstream_started_us=1, first_byte_us=2, total_us=3),
        usage=wire.Usage(
            input_tokens=1, output_tokens=2, reasoning_tokens=3, cache_read_tokens=4, requests=1, service_tier="flex"
        ),
    )
    before, after = stored(event), stored(later(event))
    assert {name for name in before if before[name] != after[name]} <= LATER
    assert (after["source"], after["unpriced"], after["currency"], after["price_digest"]) == (
        *("billing", False, "USD"),
        FULL.digest,
    )
    assert to_pico(after["charge"]) == to_pico(after["cost"]) == (2 * 5 + 8 * 5) * 10**6
    assert verify(decode(later(event).SerializeToString(), 0, NOW_US), Prices(FULL)) is None


@pytest.mark.parametrize(
    ("images", "units", "model", "charge"),
    [
        ([("1024x1024", "", 2), ("512x512", "low", 1), ("", "", 1)], {}, "picture", 12 * 10**10),
        ([], {"search": 3}, "m", 3 * 10**10),
    ],
)
def test_units_of_every_kind_come_back(images, units, model, charge):
    usage = wire.Usage(units=units, images=[wire.ImageCount(size=s, quality=q, count=n) for s, q, n in images])
    event = unpriced(model=model, usage=usage)
    after = stored(later(event))
    assert to_pico(after["charge"]) == charge
    before = stored(event)
    assert (after["images"], after["extra_units"]) == (before["images"], before["extra_units"])


def test_of_a_picture_either_itself_or_its_tokens_are_paid():
    usage = wire.Usage(input_tokens=10, image_output_tokens=100, images=[wire.ImageCount(size="1024x1024", count=1)])
    by_tokens = stored(later(unpriced(model="drawn", operation=wire.OPERATION_IMAGE, usage=usage)))
    assert (to_pico(by_tokens["charge"]), by_tokens["images"]) == ((50 + 4000) * 10**6, 0)
    by_picture = stored(later(unpriced(model="picture", operation=wire.OPERATION_IMAGE, usage=usage)))
    assert (to_pico(by_picture["charge"]), by_picture["image_output_tokens"]) == (4 * 10**10, 0)
    no_picture = unpriced(model="m", operation=wire.OPERATION_IMAGE, usage=wire.Usage(images=usage.images))
    with pytest.raises(Unpriced):
        later(no_picture)


def test_the_cost_is_what_the_channels_account_pays():
    own = PriceBook(name="cost", effective_us=0, currency="USD", models={"new": {"input": "1", "output": "1"}})
    cost = ChannelCost({"new": own.price("new", "")}, PICO)
    assert to_pico(stored(later(unpriced(), cost=cost))["cost"]) == 15 * 10**6


def test_another_currency_is_converted_once():
    rate = ExchangeRate(base="USD", quote="CNY", rate="7.123456789", effective_us=0)
    row = stored(unpriced())
    price = FULL.price("new", "").converted(rate)
    after = stored(rerated_event(row, rate_row(row, price, price, None)))
    listed = (2 * 10 + 8 * 5) * 10**6
    assert (after["currency"], after["list_currency"], after["rate_digest"]) == ("CNY", "USD", rate.digest)
    assert (to_pico(after["list_charge"]), to_pico(after["provider_cost"])) == (listed, listed)
    assert to_pico(after["charge"]) == round(Decimal(listed) * Decimal("7.123456789"))


def story(*batches):
    """Returns (kind, source, superseded, charge, cost, loss) of each row, and transfers, after these batches."""
    found = decide(*batches)
    rows = [row for part, _ in found for row in part]
    told = [
        (row["kind"], row["source"], row["superseded"], *(to_pico(row[name]) for name in ("charge", "cost", "loss")))
        for row in rows
    ]
    return told, rows, [transfers_of(judged) for _, judged in found]


FIRST = unpriced(cost_pico=7, currency="USD")
MINE = later(FIRST)
CHARGE = (2 * 10 + 8 * 5) * 10**6


def test_it_takes_the_place_of_what_had_no_price_once_whatever_comes_twice():
    told, rows, transfers = story([FIRST], [MINE], [MINE, MINE])
    assert told == [
        ("usage", "router", False, 0, 7, 0),
        ("usage", "billing", False, CHARGE, CHARGE, 0),
        ("adjustment", "router", False, 0, -7, 0),
    ]
    # Rows and ledger say the same of what it cost, batch by batch, and nothing of it is lost.
    for part, moved in zip(([rows[0]], rows[1:]), transfers, strict=False):
        raw = {}
        for row in part:
            line = BatchLine(*(row[name] for name in BatchLine._fields))
            said = Amounts(*(to_pico(row[name]) for name in Amounts._fields))
            raw[line] = Amounts(*map(sum, zip(raw.get(line, Amounts()), said, strict=True)))
        posted = [
            (
                BatchLine(part[0]["batch"], *(getattr(one.line, name) for name in BatchLine._fields[1:])),
                *(one.line.debit, one.line.credit, one.amount_pico),
            )
            for one in moved
        ]
        assert compare(raw, amounts_of(posted)) == []


def test_it_is_nothing_where_something_else_carries_the_charge():
    lost = unpriced(status=UNCONFIRMED)
    better = usage_event("req", tried=2)
    told, *_ = story([lost], [better], [later(lost)])
    assert [one[1] for one in told] == ["router", "router", "router"]
    # Nor where both come at once, in either order, nor where nothing is there to be corrected.
    for batch in ([better, later(lost)], [later(lost), better]):
        told, *_ = story([lost], batch)
        assert [one[1] for one in told] == ["router", "router", "router"]
        assert sum(one[3] for one in told) == better.charge_pico
    assert story([later(lost)])[0] == []


def test_something_better_still_replaces_it_and_its_cost_is_lost():
    lost = unpriced(status=UNCONFIRMED)
    told, *_ = story([lost], [later(lost)], [usage_event("req", tried=2)])
    assert told[-1] == ("adjustment", "billing", False, -CHARGE, 0, CHARGE)

    witness = unpriced(status=WITNESS, attempt=0)
    mine, router = later(witness), usage_event("req", status=UNCONFIRMED)
    told, *_ = story([witness], [mine], [router])
    assert sum(one[3] for one in told) == router.charge_pico
    # What the provider asked for the first one, only the router knows.
    assert told[-1] == ("adjustment", "billing", False, -CHARGE, 0, 0)
    # Another word of the same rank does not.
    again = usage_event("req", status=WITNESS, attempt=0, event_id=b"x" * 16, output_tokens=9)
    told, *_ = story([witness], [mine], [again])
    assert sum(one[3] for one in told) == CHARGE


def test_what_was_replaced_without_a_price_may_be_rated_again():
    witness, router = unpriced(status=WITNESS, attempt=0), unpriced(status=UNCONFIRMED, output_tokens=9)
    told, *_ = story([witness], [later(witness)], [router], [later(router)])
    assert sum(one[3] for one in told) == (2 * 10 + 8 * 9) * 10**6
    assert later(router).source == events.EVENT_SOURCE_BILLING


def test_the_book_of_these_events_is_no_other():
    assert BOOK.price("new", "") is None
