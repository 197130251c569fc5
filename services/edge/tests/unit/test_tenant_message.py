"""Who pays, as it travels: the organization's currency, and the limits of that moment."""

import pytest

from tollgate_edge.domain.limits import KEY, ORGANIZATION, Limits, limit_set
from tollgate_edge.domain.principal import Principal, tenant_message

pytestmark = pytest.mark.unit


def test_currency_and_limits_travel_with_the_tenant():
    limits = limit_set(
        "org_1",
        Limits(requests_per_minute=60, concurrency=2).scope(KEY, "key_1"),
        Limits(budget_pico=5 * 10**12, budget_window="day").scope(ORGANIZATION, "org_1"),
    )
    principal = Principal("key_1", "org_1", "proj_1", limits=limits, currency="CNY")
    sent = tenant_message(principal)
    assert (sent.organization_id, sent.currency, sent.price_group) == ("org_1", "CNY", "default")
    found = [(one.kind, one.id, one.requests_per_minute, one.concurrency) for one in sent.limits]
    assert found == [("key", "key_1", 60, 2), ("organization", "org_1", 0, 0)]
    assert [(one.budget_pico, one.budget_window) for one in sent.limits] == [(0, ""), (5 * 10**12, "day")]


def test_without_limits_none_travel():
    assert not tenant_message(Principal("key_1", "org_1", "proj_1")).limits
