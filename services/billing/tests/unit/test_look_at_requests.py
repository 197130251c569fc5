"""Lists that join both kinds of requests, and the evidence of one, over what billing itself booked."""

import pytest
from services.billing.tests.fakes.events import BOOK, NOW_US, UNCONFIRMED, usage_event
from services.billing.tests.fakes.process import World
from services.billing.tests.fakes.request_log import FakeRequestLog
from services.billing.tests.fakes.usage_queries import FakeUsageQueries

from tollgate.billing.v1 import billing_pb2 as wire
from tollgate.events.v1.refused_pb2 import RequestRefused, RequestsRefused
from tollgate.exchange.v1 import exchange_pb2 as wire_exchange
from tollgate_billing.api.request_rows import evidence_reply
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import second_finals
from tollgate_billing.domain.refused import refused_rows
from tollgate_billing.domain.repeated import repeated_event
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.ports import RequestFilter
from tollgate_billing.use_cases.look_at_requests import LookAtRequests

CHARGE = 60 * 10**6


class Setting:
    def __init__(self):
        self.world, self.request_log = World(), FakeRequestLog()
        world = self.world
        self.look = LookAtRequests(
            FakeUsageQueries(world.store), self.request_log, world.ledger, world.wallets, world.prices
        )

    async def book(self, *events):
        for event in events:
            self.world.append(event)
        await self.world.settle()

    async def refuse(self, name, at_us=NOW_US, **fields):
        one = RequestRefused(
            request_id=name, refused_at_us=at_us, organization_id="org", status=429, code="slow", **fields
        )
        rows = refused_rows(RequestsRefused(requests=[one]).SerializeToString(), at_us, 3650)
        await self.request_log.insert(rows, name)

    async def pages(self, limit, kind="", **where):
        found, before = [], None
        while True:
            page, before = await self.look.page(RequestFilter(**where), kind, limit, before)
            assert len(page) <= limit
            found.append([(of, row["request_id"]) for of, row in page])
            if before is None:
                return found


@pytest.fixture
async def setting():
    made = Setting()
    await made.world.fund()
    return made


async def test_both_kinds_are_one_list_page_by_page(setting):
    events = [usage_event(f"u{number}", at_us=NOW_US + number // 2) for number in range(5)]
    await setting.book(*events)
    for number in range(5):
        # Some began in the same microsecond as those that were used.
        await setting.refuse(f"r{number}", NOW_US - 10**6 + number // 2)
    pages = await setting.pages(3)
    assert [len(page) for page in pages] == [3, 3, 3, 1]
    shown = [one for page in pages for one in page]
    assert sorted(shown) == sorted(
        [("usage", event.request_id) for event in events] + [("refused", f"r{number}") for number in range(5)]
    )
    assert {of for of, _ in (await setting.pages(10, "usage"))[0]} == {"usage"}
    assert {of for of, _ in (await setting.pages(10, "refused"))[0]} == {"refused"}
    assert len((await setting.pages(10, http_status=429))[0]) == 5
    assert (await setting.pages(10, outcome="refused"))[0] == (await setting.pages(10, status="refused"))[0]
    with pytest.raises(InvalidQuery, match="allowed: usage, refused"):
        await setting.look.page(RequestFilter(), "all", 10, None)


async def test_a_charge_is_computed_again_from_its_row_and_book(setting):
    await setting.book(usage_event("a", attempt=1, final=False, outcome=3), usage_event("a", attempt=2))
    await setting.book(usage_event("b"))
    found = evidence_reply(await setting.look.evidence("a", "org"))
    assert [(row.attempt, row.final) for row in found.rows] == [(1, False), (2, True)]
    (rating,) = found.ratings
    assert [(line.unit, line.quantity, line.price, line.amount_pico) for line in rating.lines] == [
        ("input", 10, "1", 10 * 10**6),
        ("output", 5, "10", 50 * 10**6),
    ]
    assert (rating.charged_pico, rating.rated_pico, rating.problem) == (CHARGE, CHARGE, "")
    assert (rating.price_book, rating.price_digest) == ("public", BOOK.digest)
    assert (found.charge_pico, found.currency, found.hold.state) == (CHARGE, "USD", "none")
    assert ("wallet", "revenue") in [(one.debit, one.credit) for one in found.ledger]
    assert {one.batch for one in found.ledger} == {row.batch for row in found.rows}


async def test_pictures_of_no_known_size_are_computed_again(setting):
    images = [wire_exchange.ImageCount(count=2), wire_exchange.ImageCount(size="1024x1024", count=1)]
    usage = wire_exchange.Usage(images=images, requests=1)
    await setting.book(usage_event("a", model="picture", usage=usage, charge_pico=8 * 10**10, cost_pico=8 * 10**10))
    found = evidence_reply(await setting.look.evidence("a", "org"))
    (rating,) = found.ratings
    assert (rating.charged_pico, rating.rated_pico, rating.problem) == (8 * 10**10, 8 * 10**10, "")
    assert {line.unit: line.quantity for line in rating.lines} == {"image:1024x1024": 1, "image": 2}
    assert not found.mismatches


async def test_the_final_that_stands_is_rated_and_not_the_one_that_was_taken_back(setting):
    await setting.book(usage_event("a", status=UNCONFIRMED, output_tokens=1))
    await setting.book(usage_event("a", tried=2))
    found = evidence_reply(await setting.look.evidence("a", ""))
    assert sorted(row.kind for row in found.rows) == ["adjustment", "usage", "usage"]
    (rating,) = found.ratings
    assert (rating.charged_pico, found.charge_pico) == (CHARGE, CHARGE)
    (adjustment,) = [row for row in found.rows if row.kind == "adjustment"]
    assert adjustment.corrects_event_id in {row.event_id for row in found.rows}
    assert ("adjustment", "wallet") in [(one.debit, one.credit) for one in found.ledger]


async def test_of_two_copies_of_one_event_the_one_that_was_taken_back_is_shown_as_such(setting):
    world, event = setting.world, usage_event("a")
    await setting.book(event)
    world.clock.advance(40 * 60)
    await setting.book(event)
    found = evidence_reply(await setting.look.evidence("a", ""))
    assert [row.superseded for row in found.rows] == [False, False]
    history = await world.store.history({"a"}, Bounds("", "", 0, 0, 0))
    ((event_id, second),) = second_finals(history["a"]).items()
    await setting.book(repeated_event(event_id, second))
    found = evidence_reply(await setting.look.evidence("a", ""))
    shown = [(row.status, row.kind, row.superseded) for row in found.rows]
    assert shown[:2] == [("confirmed", "usage", False), ("confirmed", "usage", True)]
    assert {(status, superseded) for status, kind, superseded in shown[2:] if kind == "usage"} == {("repeated", True)}
    assert (found.charge_pico, len(found.ratings)) == (CHARGE, 1)


async def test_what_cannot_be_computed_again_or_differs_says_so(setting):
    await setting.book(
        usage_event("a", price_digest="sha256:unknown"),
        usage_event("b", model="not-in-book"),
        usage_event("c", charge_pico=CHARGE + 1),
    )
    for name, problem in (("a", "unknown_price_book"), ("b", "model_not_in_book")):
        found = evidence_reply(await setting.look.evidence(name, ""))
        assert [one.problem for one in found.ratings] == [problem]
    found = evidence_reply(await setting.look.evidence("c", ""))
    assert (found.ratings[0].charged_pico, found.ratings[0].rated_pico) == (CHARGE + 1, CHARGE)
    assert [(one.reason, one.expected_pico) for one in found.mismatches] == [("charge", CHARGE)]


async def test_a_hold_that_is_still_there_is_shown(setting):
    await setting.book(usage_event("a"))
    setting.world.wallets.hold("org", "a", 500)
    hold = evidence_reply(await setting.look.evidence("a", "org")).hold
    assert (hold.state, hold.amount_pico) == ("held", 500)


async def test_what_a_second_try_holds_is_shown(setting):
    await setting.book(usage_event("a"))
    setting.world.wallets.hold("org", "a.2", 500)
    hold = evidence_reply(await setting.look.evidence("a", "org")).hold
    assert (hold.state, hold.amount_pico) == ("held", 500)


async def test_refused_ones_are_found_and_others_of_another_organization_are_not(setting):
    await setting.refuse("r", message="Wait.")
    await setting.book(usage_event("a"))
    (row,) = evidence_reply(await setting.look.evidence("r", "org")).rows
    assert (row.kind, row.outcome, row.http_status, row.error_kind, row.message) == (
        *("refused", "refused", 429, "slow", "Wait."),
    )
    for name, organization in (("r", "other"), ("a", "other"), ("nobody", "")):
        assert evidence_reply(await setting.look.evidence(name, organization)) == wire.GetEvidenceResponse()


async def test_the_hold_of_a_second_try_is_shown_and_not_what_is_left_of_the_first(setting):
    await setting.book(usage_event("a", status=UNCONFIRMED))
    wallets = setting.world.wallets
    wallets.hold("org", "a.2", 500)
    wallets.holds["org", "a"] = ["released", 0]
    hold = (await setting.look.evidence("a", "")).hold
    assert (hold.state, hold.amount_pico) == ("held", 500)
