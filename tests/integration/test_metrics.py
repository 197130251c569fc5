"""What edge and router say of themselves on /metrics, held against what was sent through them."""

import asyncio

import pytest
from tests.integration.audit import wait_at_rest
from tests.integration.metrics import Scrape, admin_address, scrape
from tests.integration.product import Product
from tests.integration.traffic import Answer, Call, Crowd

from tollgate_edge import telemetry as edge
from tollgate_router import telemetry as router

pytestmark = pytest.mark.integration

CLIENTS = 8
DECLARED = {"edge": edge.FAMILIES, "router": router.FAMILIES}
OK_CHATS, OK_STREAMS, OK_EMBEDDINGS, REFUSED, CUT, NO_MODEL = 6, 5, 4, 3, 2, 1


def chat(fault: str = "", **more: object) -> Call:
    words = f"Say hello [[sim:{fault}]]" if fault else "Say hello"
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": words}], **more}
    return Call("chat", "/chat/completions", body)


CALLS = [
    *[chat()] * OK_CHATS,
    *[chat("chunks=5", stream=True)] * OK_STREAMS,
    *[Call("embeddings", "/embeddings", {"model": "text-embedding-3-small", "input": "hello"})] * OK_EMBEDDINGS,
    *[chat("status=400")] * REFUSED,
    *[chat("cut=2", stream=True)] * CUT,
    *[chat(model="no-such-model")] * NO_MODEL,
]


class Difference:
    """What was added between two scrapes."""

    def __init__(self, before: Scrape, after: Scrape) -> None:
        self._before, self._after = before, after

    def __call__(self, name: str, **labels: str) -> float:
        return self._after.value(name, **labels) - self._before.value(name, **labels)


@pytest.fixture(scope="module")
def scraped(product: Product) -> tuple[dict[str, Difference], dict[str, Scrape], list[Answer], str]:
    made = product.create_key("measured")
    # What others left under way would be counted as well.
    wait_at_rest(product)
    addresses = {service: admin_address(product, f"{service}-0") for service in DECLARED}
    before = {service: scrape(address) for service, address in addresses.items()}
    crowd = Crowd(product.base_url, made["key"], CLIENTS)
    asyncio.run(crowd.send(CALLS))
    # What was refused costs nothing, and leaves later than wallet and ledger agree.
    wait_at_rest(product)
    after = {service: scrape(address) for service, address in addresses.items()}
    return (
        {service: Difference(before[service], after[service]) for service in DECLARED},
        after,
        crowd.answers,
        made["id"],
    )


def test_exactly_what_is_declared_is_served(scraped):
    _, after, _, _ = scraped
    for service, families in DECLARED.items():
        ours = {name: kind for name, kind in after[service].kinds.items() if not name.startswith("process_")}
        assert ours == {family.name.removesuffix("_total"): family.kind for family in families}
        assert after[service].value("process_resident_memory_bytes") > 0
        for family in families:
            suffix = "_count" if family.kind == "histogram" else ""
            assert all(set(labels) == set(family.labels) for labels in after[service].labels(family.name + suffix))


def test_no_label_names_who_asked(scraped):
    _, after, answers, key_id = scraped
    private = {key_id, "default", "demo", *(answer.request_id for answer in answers if answer.request_id)}
    values = {value for one in after.values() for _, labels in one.samples for _, value in labels}
    assert not values & private
    assert not any(word in value for value in values for word in ("req_", "key_", "sk-", "gpt-5-mini", "no-such-model"))


def test_edge_counts_what_was_asked_of_it(scraped):
    found = scraped[0]["edge"]
    answered = OK_CHATS + OK_STREAMS + OK_EMBEDDINGS
    assert found("tollgate_edge_requests_total", outcome="ok") == answered
    assert found("tollgate_edge_requests_total", outcome="upstream_error") == REFUSED
    assert found("tollgate_edge_requests_total", outcome="upstream_cut") == CUT
    assert found("tollgate_edge_refused_total", code="model_not_found") == NO_MODEL
    duration = "gen_ai_server_request_duration_seconds_count"
    assert found(duration, gen_ai_operation_name="embeddings", error_type="") == OK_EMBEDDINGS
    assert found(duration, gen_ai_operation_name="chat", error_type="") == OK_CHATS + OK_STREAMS
    assert found(duration, error_type="upstream_cut") == CUT
    assert found("gen_ai_server_time_to_first_token_seconds_count") == OK_STREAMS
    assert found("tollgate_edge_queue_seconds_count") == answered + REFUSED + CUT
    assert 0 < found("tollgate_edge_admission_round_trips_total") <= 2 * len(CALLS)
    # Each is an Open and an Ack at least.
    assert found("tollgate_edge_exchange_batch_frames_sum", direction="sent") >= 2 * (answered + REFUSED + CUT)
    assert 0 < found("tollgate_edge_exchange_batch_frames_count", direction="received") < len(CALLS) * 20


def test_a_router_counts_by_channel(scraped):
    found = scraped[0]["router"]
    answered = OK_CHATS + OK_STREAMS + OK_EMBEDDINGS
    assert found("tollgate_router_requests_total", outcome="ok") == answered
    assert found("tollgate_router_attempts_total", channel="simulator") == answered + REFUSED + CUT
    assert found("tollgate_router_failures_total", channel="simulator") == REFUSED + CUT
    assert found("tollgate_router_failures_total", error_type="upstream_cut") == CUT
    call = {"channel": "simulator", "gen_ai_provider_name": "simulator", "gen_ai_operation_name": "chat"}
    assert found("gen_ai_client_operation_duration_seconds_count", **call, error_type="") == OK_CHATS + OK_STREAMS
    assert found("gen_ai_client_operation_duration_seconds_count", **call) == answered - OK_EMBEDDINGS + REFUSED + CUT
    assert found("gen_ai_client_operation_time_to_first_chunk_seconds_count", **call) == OK_STREAMS
    assert found("tollgate_router_tokens_total", gen_ai_token_type="input") > answered
    # Five pieces are five tokens.
    assert found("tollgate_router_tokens_total", gen_ai_token_type="output") >= 5 * OK_STREAMS
    # A connection may be opened for a call that finds another one free before, and earlier calls may have left enough.
    assert scraped[1]["router"].value("tollgate_router_upstream_connections_opened_total") > 0
    assert found("tollgate_router_upstream_connections_reused_total") > 0
    assert found("tollgate_router_published_total") == answered + REFUSED + CUT


def test_what_is_over_is_held_by_nobody(scraped):
    _, after, _, _ = scraped
    for service, names in {
        "edge": ("open_requests", "open_streams", "stalled_requests", "parked_requests", "body_bytes", "key_checks",
                 "admission_waiting", "exchange_queued_frames", "exchange_queued_bytes", "spool_records"),
        "router": ("open_requests", "stalled_requests", "body_bytes", "exchange_queued_frames", "exchange_queued_bytes",
                   "unacknowledged", "upstream_waiting_calls", "spool_records", "publisher_depth"),
    }.items():  # fmt: skip
        assert {name: after[service].value(f"tollgate_{service}_{name}") for name in names} == dict.fromkeys(names, 0)
        assert after[service].value(f"tollgate_{service}_state", state="ready") == 1
        assert after[service].value(f"tollgate_{service}_state") == 1
        assert after[service].value(f"tollgate_{service}_spool_limit_bytes") > 0
        assert after[service].value(f"tollgate_{service}_event_loop_lag_seconds_count") > 0
    assert after["edge"].value("tollgate_edge_routers_connected") == 1
    assert after["router"].value("tollgate_router_exchange_streams") == 1
    connections = after["router"].labels("tollgate_router_upstream_connections")
    assert {one["http_connection_state"] for one in connections} == {"active", "idle", "connecting"}
    assert {one["server_address"] for one in connections} == {"127.0.0.1"}
