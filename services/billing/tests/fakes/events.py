"""Usage events for tests."""

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.ids import event_id
from tollgate_rating import PriceBook

NOW_US = 1_764_000_000_000_000
BOOK = PriceBook(
    name="public",
    effective_us=0,
    currency="USD",
    models={"m": {"input": "1", "output": "10"}, "picture": {"image": "0.02", "image:1024x1024": "0.04"}},
)
CONFIRMED, UNCONFIRMED, WITNESS = (
    events.EVENT_STATUS_CONFIRMED,
    events.EVENT_STATUS_UNCONFIRMED,
    events.EVENT_STATUS_WITNESS,
)


def usage_event(
    request="req",
    *,
    tried=1,
    attempt=1,
    status=CONFIRMED,
    replay=False,
    final=True,
    input_tokens=10,
    output_tokens=5,
    at_us=NOW_US,
    organization="org",
    **fields,
):
    """Returns an event whose charge is right by BOOK: 1 per million in, 10 per million out."""
    source = events.EVENT_SOURCE_WITNESS if status == WITNESS else events.EVENT_SOURCE_ROUTER
    charge = (input_tokens + 10 * output_tokens) * 10**6
    values = {
        "event_id": event_id(request, tried, attempt, source),
        "request_id": request,
        "attempt": attempt,
        "source": source,
        "final": final,
        "status": status,
        "replay": replay,
        "started_at_us": at_us - 1_000_000,
        "ended_at_us": at_us,
        "tenant": wire.Tenant(organization_id=organization, project_id="project", api_key_id="key"),
        "model": "m",
        "provider": "simulator",
        "channel": "main",
        "operation": wire.OPERATION_CHAT,
        "dialect": wire.DIALECT_OPENAI_CHAT,
        "outcome": wire.OUTCOME_OK,
        "usage": wire.Usage(input_tokens=input_tokens, output_tokens=output_tokens),
        "cost_pico": charge // 2,
        "charge_pico": charge if final else 0,
        "currency": "USD",
        "price_digest": BOOK.digest,
        "try": tried,
    }
    return events.UsageRecorded(**(values | fields))
