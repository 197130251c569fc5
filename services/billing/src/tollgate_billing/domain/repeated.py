"""The event that takes back a final that stands beside another one of its request: it has no usage and charges nothing.

It goes through the log as every event does, so that what it takes back is an adjustment as any other.
"""

from typing import Any, Final

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.domain.judge import Booked

# With these, the row stands beside the one that it takes back, in sums and lists.
_SAME: Final = ("request_id", "attempt", "model", "requested_model", "upstream_model", "provider", "channel")
_OF_TENANT: Final = ("organization_id", "project_id", "api_key_id", "price_group", "tags", "member", "currency")


def repeated_event(event_id: bytes, second: Booked) -> events.UsageRecorded:
    """Returns the event, called `event_id`, that takes back a final that `second_finals` has found."""
    row: Any = second.row
    return events.UsageRecorded(
        event_id=event_id,
        source=events.EVENT_SOURCE_BILLING,
        status=events.EVENT_STATUS_REPEATED,
        final=True,
        replay=True,
        started_at_us=row["started_at"],
        ended_at_us=row["ended_at"],
        tenant=wire.Tenant(**{name: row[name] for name in _OF_TENANT}),
        outcome=wire.OUTCOME_OK,
        currency=row["currency"],
        **{name: row[name] for name in _SAME},
        **{"try": row["try"]},
    )
