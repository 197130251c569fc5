"""The event of a request whose own event never came: what edge settled its hold with is what it is charged.

It goes through the log as every event does, so that a final that comes after all takes its place by the one kind of
adjustment that there is.
"""

from collections.abc import Sequence
from typing import Any, Final

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.domain.event import DAY_US, MAX_EVENT_DAYS, settled_id
from tollgate_holds import request_of

# A day less than events are taken: what is sent now is booked in a while.
_OLDEST_US: Final = (MAX_EVENT_DAYS - 1) * DAY_US


def settled_event(
    organization_id: str,
    hold_id: str,
    *,
    charge_pico: int,
    currency: str,
    settled_us: int,
    now_us: int,
    budgets: Sequence[tuple[str, str]] = (),
) -> events.UsageRecorded:
    """Returns the event that charges a request what its hold was settled with, in pico-units of its currency.

    A hold says whose it is, how much and when, and names the key and the project where these have a budget; all else is
    left empty, the model too. `budgets` are those, as kind and id.
    """
    scopes = dict(budgets)
    request_id = request_of(hold_id)
    # Of what began too long ago nothing is booked; such a hold is of a release that could not end it.
    at_us = max(settled_us, now_us - _OLDEST_US)
    # A word of Python.
    number_of_try: dict[str, Any] = {"try": 1 if request_id == hold_id else 2}
    return events.UsageRecorded(
        event_id=settled_id(hold_id),
        request_id=request_id,
        source=events.EVENT_SOURCE_BILLING,
        status=events.EVENT_STATUS_SETTLED,
        final=True,
        replay=True,
        estimated=True,
        started_at_us=at_us,
        ended_at_us=at_us,
        tenant=wire.Tenant(
            organization_id=organization_id,
            project_id=scopes.get("project", ""),
            api_key_id=scopes.get("key", ""),
            currency=currency,
        ),
        # That it failed is for those to say who know.
        outcome=wire.OUTCOME_OK,
        charge_pico=charge_pico,
        currency=currency,
        **number_of_try,
    )
