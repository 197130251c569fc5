"""The identity rules, as a table: what each event of a request becomes after what came before it."""

from decimal import Decimal
from itertools import permutations

import pytest
from services.billing.tests.fakes.events import NOW_US, UNCONFIRMED, WITNESS, usage_event

from tollgate_billing.domain.event import decode
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import judge, looked_up
from tollgate_billing.domain.postings import effects_of, transfers_of
from tollgate_billing.domain.recent import WINDOW_US, RecentIds
from tollgate_billing.domain.rows import booked_of, rows_of
from tollgate_billing.domain.settled import settled_event

pytestmark = pytest.mark.unit


def bounds(low, high):
    return Bounds("epoch", "topic", 0, low, high)


def decide(*batches, at_us=None):
    """Runs batches of events through the rules; returns the rows of each."""
    recent, store, found, offset = RecentIds(), [], [], 0
    for number, batch in enumerate(batches):
        when = (at_us or {}).get(number, NOW_US)
        events = [decode(one.SerializeToString(), offset + index, when) for index, one in enumerate(batch)]
        looked = looked_up(events, frozenset())
        history = booked_of([row for row in store if row["request_id"] in looked])
        judged, _ = judge(events, recent, looked, history)
        for one in judged:
            recent.add(one.event.event_id, one.event.at_us)
        rows = rows_of(judged, bounds(offset, offset + len(batch)), NOW_US)
        store += rows
        found.append((rows, judged))
        offset += len(batch)
    return found


def outcome(rows):
    return [(row["kind"], row["try"], row["status"], row["superseded"], int(row["charge"].scaleb(12))) for row in rows]


U1 = usage_event(status=UNCONFIRMED, output_tokens=1)
U2 = usage_event(status=UNCONFIRMED, tried=2, output_tokens=2)
C1 = usage_event(output_tokens=3)
C2 = usage_event(tried=2, output_tokens=4)
W1 = usage_event(status=WITNESS, output_tokens=5, attempt=0)
W2 = usage_event(status=WITNESS, tried=2, output_tokens=6, attempt=0)
# What edge settled a try with, as an estimate.
S1, S2 = (
    settled_event("org", hold_id, charge_pico=cost, currency="USD", settled_us=NOW_US, now_us=NOW_US)
    for hold_id, cost in (("req", 77), ("req.2", 99))
)
NAMES = {"U1": U1, "U2": U2, "C1": C1, "C2": C2, "W1": W1, "W2": W2, "S1": S1, "S2": S2}
CHARGES = {name: event.charge_pico for name, event in NAMES.items()}


@pytest.mark.parametrize(
    ("order", "winner"),
    [
        ("C1", "C1"),
        ("U1", "U1"),
        ("W1", "W1"),
        ("W1 U1", "U1"),
        ("U1 W1", "U1"),
        ("U1 C2", "C2"),
        ("C2 U1", "C2"),
        ("U1 U2", "U2"),
        ("U2 U1", "U2"),
        ("W1 W2", "W2"),
        ("W2 W1", "W2"),
        ("U1 W2", "U1"),
        ("W2 U1", "U1"),
        ("W1 U1 C2", "C2"),
        ("C2 W1 U1", "C2"),
        ("W2 U2 U1 W1", "U2"),
        *(
            (" ".join(order), winner)
            for of_request, winner in [
                (("S1", "U1"), "U1"),
                (("S1", "W1"), "W1"),
                (("S1", "C2"), "C2"),
                (("S1", "W2"), "W2"),
                (("S1", "S2"), "S2"),
                (("W1", "S2"), "S2"),
                (("U1", "S2"), "S2"),
                (("W1", "U1", "S2"), "S2"),
                (("W1", "S2", "C2"), "C2"),
                (("U1", "S2", "U2"), "U2"),
                (("S1", "S2", "W1", "C2"), "C2"),
            ]
            for order in permutations(of_request)
        ),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_one_event_of_a_request_carries_the_charge(order, winner, together):
    events = [NAMES[name] for name in order.split()]
    found = decide(events) if together else decide(*[[event] for event in events])
    rows = [row for part, _ in found for row in part]
    charged = sum(row["charge"] for row in rows)
    assert int(charged.scaleb(12)) == CHARGES[winner]
    assert sum(row["cost"] for row in rows) == sum(Decimal(event.cost_pico).scaleb(-12) for event in events)
    lost = sum(event.cost_pico for name, event in NAMES.items() if name in order.split() and name != winner)
    assert int(sum(row["loss"] for row in rows).scaleb(12)) == lost
    ledger = sum(
        transfer.amount_pico * ((transfer.line.debit == "wallet") - (transfer.line.credit == "wallet"))
        for _, judged in found
        for transfer in transfers_of(judged)
    )
    assert ledger == CHARGES[winner]
    wallet = sum(
        sum(effect.charges.values()) - sum(effect.credits.values())
        for _, judged in found
        for effect in effects_of(judged)
    )
    assert wallet == CHARGES[winner]


def test_a_loser_of_the_same_batch_changes_in_place_and_a_booked_one_gets_an_adjustment():
    ((rows, _),) = decide([W1, U1])
    assert outcome(rows) == [("usage", 1, "witness", True, 0), ("usage", 1, "unconfirmed", False, CHARGES["U1"])]
    (first, _), (second, _) = decide([W1], [U1])
    assert outcome(first) == [("usage", 1, "witness", False, CHARGES["W1"])]
    assert outcome(second) == [
        ("usage", 1, "unconfirmed", False, CHARGES["U1"]),
        ("adjustment", 1, "witness", False, -CHARGES["W1"]),
    ]
    assert second[1]["corrects_event_id"] == first[0]["event_id"]
    assert (second[1]["src_offset"], second[1]["src_index"]) == (1, 1)


def test_the_winner_of_a_batch_inherits_the_correction_of_the_one_it_beats():
    _, (rows, _) = decide([W1], [U1, C2])
    assert [row[0] for row in outcome(rows)] == ["usage", "usage", "adjustment"]
    assert sum(row[4] for row in outcome(rows)) == CHARGES["C2"] - CHARGES["W1"]


@pytest.mark.parametrize("event", [C1, U1, C2, W1])
def test_the_same_id_again_is_dropped(event):
    again = type(event)()
    again.CopyFrom(event)
    again.replay = True
    for batches in ([[event, event]], [[event], [event]], [[event], [again]], [[event, again]]):
        rows = [row for part, _ in decide(*batches) for row in part]
        assert len(rows) == 1


def test_a_replay_is_dropped_however_late_it_comes():
    again = type(C1)()
    again.CopyFrom(C1)
    again.replay = True
    late = NOW_US + 5 * WINDOW_US
    found = decide([C1], [usage_event("other", at_us=late)], [again], at_us={1: late, 2: late})
    assert [len(rows) for rows, _ in found] == [1, 1, 0]


def test_attempts_that_are_not_final_have_rows_and_costs_but_no_charge_and_no_hold():
    failed = usage_event(attempt=1, final=False)
    served = usage_event(attempt=2)
    ((rows, judged),) = decide([failed, served])
    assert [int(row["charge"].scaleb(12)) for row in rows] == [0, served.charge_pico]
    costs = {transfer.line.debit: transfer.amount_pico for transfer in transfers_of(judged)}
    assert costs == {"wallet": served.charge_pico, "provider_cost": failed.cost_pico + served.cost_pico}
    assert [effect.charges for effect in effects_of(judged)] == [{("req", "USD"): served.charge_pico}]


def test_a_final_without_charge_books_its_hold_away():
    ((_, judged),) = decide([usage_event(input_tokens=0, output_tokens=0, cost_pico=0)])
    assert transfers_of(judged) == []
    assert [effect.charges for effect in effects_of(judged)] == [{("req", "USD"): 0}]


@pytest.mark.parametrize("together", [True, False])
def test_of_two_finals_of_one_rank_the_first_keeps_the_charge(together):
    first, second = (
        usage_event(status=UNCONFIRMED, attempt=1),
        usage_event(status=UNCONFIRMED, attempt=2, output_tokens=9),
    )
    found = decide([first, second]) if together else decide([first], [second])
    rows = [row for part, _ in found for row in part]
    assert [row["superseded"] for row in rows] == [False, True]
    assert int(sum(row["charge"] for row in rows).scaleb(12)) == first.charge_pico


def test_recent_ids_forget_after_the_window():
    recent = RecentIds([(b"a" * 16, NOW_US)])
    assert recent.has(b"a" * 16, NOW_US + WINDOW_US - 10 * 60 * 10**6)
    assert not recent.has(b"a" * 16, NOW_US + WINDOW_US + 10 * 60 * 10**6)
    recent.add(b"b" * 16, NOW_US + 3 * WINDOW_US)
    assert len(recent) == 1


@pytest.mark.parametrize("together", [True, False])
def test_a_try_ends_its_own_hold_only(together):
    """What is known of a first try, whatever it says, leaves what the second one holds."""
    events = [W1, U1, C2]
    found = decide(events) if together else decide(*[[event] for event in events])
    ended = [list(effect.charges.items()) for _, judged in found for effect in effects_of(judged)]
    first, second = ("req", "USD"), ("req.2", "USD")
    if together:
        assert ended == [[(first, 0), (second, CHARGES["C2"])]]
    else:
        assert ended == [[(first, CHARGES["W1"])], [(first, CHARGES["U1"])], [(second, CHARGES["C2"])]]
