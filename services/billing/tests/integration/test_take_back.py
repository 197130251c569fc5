"""What was charged twice is found and taken back, in real books (chDB, SQLite, Valkey) and in fakes."""

import pytest
from services.billing.tests.fakes.events import UNCONFIRMED, usage_event
from services.billing.tests.integration.planted_books import CHARGE, FUNDS, SECOND_US

from tollgate_billing.domain.books import amounts_of
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.rows import to_pico
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.use_cases.record_batch import Batch, SourceState
from tollgate_kit.event_log import Claim, Stored

pytestmark = pytest.mark.integration

LATE_SECONDS = 40 * 60
HOUR_US = 3600 * SECOND_US
# A request of each kind of charge that is one too many, and how many of its are.
PLANTED = {"again": 1, "thrice": 2, "another": 1, "both": 3}
SOUND = ("plain", "better")


async def plant(books):
    """Books requests, and late duplicates of some in other batches; returns what would have been right."""
    thrice = books.event("thrice", output_tokens=9)
    first, second = books.event("both"), books.event("both", attempt=2)
    again, better = books.event("again"), books.event("better", status=UNCONFIRMED)
    await books.book(again, thrice, first, better, books.event("plain"), books.event("plain-try", final=False))
    # Within half an hour it is recognised, and a final that is compared never counts twice.
    await books.book(again, books.event("better", tried=2))
    await books.book(books.event("another"), books.event("another", attempt=2), second)
    books.clock.advance(LATE_SECONDS)
    await books.book(again, thrice, first)
    books.clock.advance(LATE_SECONDS)
    await books.book(thrice, second)
    return 5 * CHARGE + thrice.charge_pico


def named(found):
    return {name for one in found if one.kind == "double_charge" for name in one.request_ids}


async def applied(books, **more):
    """Takes back what is found, and books it; returns what was found."""
    found = await books.take_back(books.began_us - SECOND_US, books.clock.now_us() + SECOND_US, **more)
    if books.sent:
        await books.book(*books.sent)
        books.sent.clear()
    return found


async def rows_of(books):
    names = {books.name(name) for name in (*PLANTED, *SOUND)}
    history = await books.store.history(names, Bounds("", "", 0, 0, 0))
    return {name: [one for one in history[books.name(name)] if one.final] for name in (*PLANTED, *SOUND)}


async def test_all_that_was_charged_twice_is_found_and_taken_back_once(books):
    right = await plant(books)
    found = await books.differences()
    assert named(found) == {books.name(name) for name in PLANTED}
    assert {one.kind for one in found} == {"double_charge", "repeated_event"}
    _, before = await books.ledger.balance(books.organization)
    assert FUNDS - before > right

    # Shown, and nothing is changed.
    shown = await applied(books, organization_id="", apply=False)
    mine = [one for one in shown.seconds if one.row["organization_id"] == books.organization]
    counts = {name: sum(one.request_id == books.name(name) for one in mine) for name in PLANTED}
    assert counts == PLANTED
    assert (await books.ledger.balance(books.organization))[1] == before

    other = await applied(books, organization_id="nobody", apply=True)
    assert (other.seconds, other.sent) == ([], 0)
    done = await applied(books, organization_id=books.organization, apply=True)
    assert done.sent == sum(PLANTED.values())
    # Rows, sums, ledger and wallet agree, and nobody names any of it.
    assert await books.differences() == []
    _, ledger = await books.ledger.balance(books.organization)
    state = await books.wallets.state(books.organization)
    assert ledger == state.wallet == FUNDS - right
    # Adjustments and what they take back are nothing together: one final of each request stands.
    for name, finals in (await rows_of(books)).items():
        assert sum(not one.superseded for one in finals) == 1, name
    again = await applied(books, organization_id=books.organization, apply=True)
    assert (again.seconds, again.sent) == ([], 0)


@pytest.mark.parametrize("books", ["real"], indirect=True)
async def test_requests_tokens_and_costs_count_once_after_it(books):
    await plant(books)
    await applied(books, organization_id=books.organization, apply=True)
    mine = f"organization_id = '{books.organization}'"
    sums = (
        "sum(requests) AS r, sum(input_tokens) AS i, sum(charge) AS c, sum(cost) AS o, sum(loss) AS l, sum(errors) AS e"
    )
    for rollup in ("usage_1m", "usage_1h", "usage_1d"):
        (row,) = await books.clickhouse.rows(f"SELECT {sums} FROM {rollup} WHERE {mine}", {})
        # "better" cost us twice, and its first call is lost; "plain-try" is a call that failed.
        assert (row["r"], row["i"], row["e"]) == (6, 60, 0), rollup
        assert to_pico(row["c"]) == 5 * CHARGE + (10 + 90) * 10**6, rollup
        assert to_pico(row["o"]) == 7 * CHARGE // 2 + 50 * 10**6, rollup
        assert to_pico(row["l"]) == CHARGE // 2, rollup


async def test_one_that_is_sent_twice_or_beside_a_better_final_stays_exact(books):
    await books.book(books.event("b"))
    books.clock.advance(LATE_SECONDS)
    await books.book(books.event("b"))
    await books.take_back(books.began_us - SECOND_US, books.clock.now_us() + SECOND_US, books.organization, apply=True)
    await books.take_back(books.began_us - SECOND_US, books.clock.now_us() + SECOND_US, books.organization, apply=True)
    one, two = books.sent
    assert one == two
    # In one batch with a final that takes the place of the other copy.
    better = books.event("b", tried=2, output_tokens=1)
    await books.book(one, better, two)
    await books.book(two)
    assert await books.differences() == []
    _, ledger = await books.ledger.balance(books.organization)
    assert ledger == FUNDS - better.charge_pico


async def test_a_copy_of_a_final_that_was_replaced_is_taken_back_too(books):
    await books.book(books.event("a"))
    books.clock.advance(LATE_SECONDS)
    await books.book(books.event("a"))
    better = books.event("a", tried=2, output_tokens=1)
    await books.book(better)
    assert named(await books.differences()) == {books.name("a")}
    done = await applied(books, organization_id=books.organization, apply=True)
    assert done.sent == 1
    assert await books.differences() == []
    _, ledger = await books.ledger.balance(books.organization)
    assert ledger == FUNDS - better.charge_pico


async def test_a_duplicate_of_what_was_booked_before_the_time_is_found(books):
    old = books.event("old")
    await books.book(old, books.event("plain"))
    books.clock.advance(26 * 3600)
    since = books.clock.now_us()
    await books.book(old)
    report = await books.compare(since, books.clock.now_us() + SECOND_US)
    assert named(report.differences) >= {books.name("old")}
    found = await books.take_back(since, books.clock.now_us() + SECOND_US, books.organization, apply=True)
    await books.book(*books.sent)
    assert found.sent == 1
    assert (
        named((await books.compare(since, books.clock.now_us() + SECOND_US)).differences) & {books.name("old")} == set()
    )
    assert (await books.ledger.balance(books.organization))[1] == FUNDS - 2 * CHARGE


async def test_rows_of_one_place_were_charged_once_and_stay(books):
    event = books.event("a")
    await books.book(event)
    # The same batch, inserted again after its token was forgotten.
    claim = Claim("topic", 0, books.epoch, 0)
    record = Stored(claim, 0, books.clock.now_us(), b"k", event.SerializeToString())
    bounds = Bounds(books.epoch, "topic", 0, 0, 1)
    twice = Batch(bounds, "owner", [record], resumed=False, started_us=0)
    await books.record.prepare(twice, SourceState())
    await books.store.insert_usage(twice.prepared.rows, "again/" + bounds.batch)
    found = await books.differences()
    assert {one.kind for one in found} >= {"repeated_event", "charge"}
    assert named(found) == set()
    done = await applied(books, organization_id=books.organization, apply=True)
    assert (done.seconds, done.sent) == ([], 0)


async def test_what_is_too_old_is_left_and_said(books):
    at_us = books.clock.now_us() - (87 * 24 + 12) * HOUR_US
    event = books.event("a", started_at_us=at_us, ended_at_us=at_us)
    await books.book(event)
    books.clock.advance(2 * 24 * 3600)
    await books.book(event)
    found = await applied(books, organization_id=books.organization, apply=True)
    assert (found.sent, dict(found.left_out)) == (0, {"too_old": 1})
    with pytest.raises(InvalidQuery):
        await books.take_back(5, 5, "", apply=False)


async def test_the_ledger_says_what_rows_say_of_it(books):
    await plant(books)
    await applied(books, organization_id=books.organization, apply=True)
    booked = await books.compare._booked.transfers_between(0, 1 << 62)
    mine = [one for one in booked if one[0].organization_id == books.organization]
    amounts = amounts_of(mine)
    assert sum(one.charge for one in amounts.values()) == 5 * CHARGE + (10 + 90) * 10**6
    assert usage_event().charge_pico == CHARGE
