"""What a process admits by itself while Redis is away."""

import pytest

from tollgate_edge.inference.alone import Alone
from tollgate_edge.inference.limits import Ticket
from tollgate_holds import HoldResult, LimitSet, Scope

pytestmark = pytest.mark.unit

CAP = 1000


class Setting:
    def __init__(self):
        self.now = 50.0
        self.alone = Alone(CAP, lambda: self.now)
        self.count = 0

    def hold(self, amount, organization="org_1", expected=10, **limits):
        self.count += 1
        ticket = Ticket(LimitSet(organization, (Scope("key", "k", **(limits or {"requests": 100})),)), expected)
        return self.alone.hold(f"r{self.count}", amount, ticket), ticket


@pytest.fixture
def setting():
    return Setting()


def test_an_organization_spends_unverified_up_to_the_cap(setting):
    assert setting.hold(600)[0] is HoldResult.DONE
    assert setting.hold(401)[0] is HoldResult.UNVERIFIED
    assert setting.hold(401, "org_2")[0] is HoldResult.DONE
    assert setting.hold(400)[0] is HoldResult.DONE
    assert setting.hold(1)[0] is HoldResult.UNVERIFIED
    assert setting.alone.unverified_pico() == 1401


def test_what_a_request_did_not_cost_may_be_spent_again(setting):
    _, ticket = setting.hold(900)
    assert setting.hold(200)[0] is HoldResult.UNVERIFIED
    setting.alone.finish("r1", ticket, 100, tokens=0)
    assert setting.hold(900)[0] is HoldResult.DONE
    assert setting.alone.unverified_pico() == 1000


def test_what_is_refused_by_a_limit_spends_nothing(setting):
    assert setting.hold(100, requests=1)[0] is HoldResult.DONE
    result, ticket = setting.hold(100, requests=1)
    assert (result, ticket.verdict[0], ticket.era) == (HoldResult.LIMITED, HoldResult.LIMITED, 0)
    assert ticket.refusal(0).headers["retry-after"] == "60"
    assert setting.alone.unverified_pico() == 100
    setting.now += 60
    assert setting.hold(100, requests=1)[0] is HoldResult.DONE


def test_tokens_and_slots_are_given_back(setting):
    limits = {"tokens": 20, "slots": 1}
    result, ticket = setting.hold(0, expected=15, **limits)
    assert result is HoldResult.DONE
    assert setting.hold(0, expected=1, **limits)[0] is HoldResult.LIMITED
    setting.alone.finish("r1", ticket, 0, tokens=-12)
    assert setting.hold(0, expected=17, **limits)[0] is HoldResult.DONE


def test_all_is_forgotten_when_redis_is_back_and_earlier_requests_change_nothing_then(setting):
    _, ticket = setting.hold(900, slots=1)
    setting.alone.clear()
    assert setting.alone.unverified_pico() == 0
    _, newer = setting.hold(500, slots=1)
    setting.alone.finish("r1", ticket, 0, tokens=0)
    assert setting.alone.unverified_pico() == 500
    assert setting.hold(1, slots=1)[0] is HoldResult.LIMITED
    setting.alone.finish("r2", newer, 0, tokens=0)
    assert setting.hold(1, slots=1)[0] is HoldResult.DONE
