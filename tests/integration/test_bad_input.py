"""Bad input against the real product: status and code, no detail of ours, the right bill, and nothing left behind."""

import json

import httpx
import pytest
from tests.integration.callers import (
    MODEL,
    at_once,
    body_of,
    chat,
    check_error,
    check_no_detail,
    check_reply,
    head_of,
    nothing_billed,
    post,
    raw,
    request,
    row_of,
    rows_of,
    sent,
    streamed,
    wait_settled,
)
from tests.integration.faulty import FaultyProvider, FullPort
from tests.integration.left_behind import inside, least
from tests.integration.product import Product
from tests.integration.simulators import simulated
from tests.servers.process import free_port, wait_until

pytestmark = pytest.mark.integration

CLOSED, FULL, FAULTY = "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini"
DRAWS, DRAWS_CLOSED, DRAWS_FULL, DRAWS_FAULTY = (
    "gpt-image-2",
    "gpt-image-1-mini",
    "gpt-image-1.5",
    "gpt-image-2.5-flare",
)
IMAGE = {"model": DRAWS, "prompt": "a red square", "size": "1024x1024"}
MAX_BODY, MAX_DEPTH = 100_000, 32
# Long enough for a loaded machine to answer in time, short enough to wait for.
WAIT_SECONDS = 4
LIMITS = {
    "TOLLGATE_EDGE_MAX_BODY_BYTES": str(MAX_BODY),
    "TOLLGATE_EDGE_MAX_JSON_DEPTH": str(MAX_DEPTH),
    "TOLLGATE_EDGE_HEADER_TIMEOUT_SECONDS": str(WAIT_SECONDS),
    "TOLLGATE_EDGE_BODY_TIMEOUT_SECONDS": str(WAIT_SECONDS),
    "TOLLGATE_ROUTER_CONNECT_TIMEOUT_SECONDS": str(WAIT_SECONDS),
    "TOLLGATE_ROUTER_FIRST_BYTE_TIMEOUT_SECONDS": str(WAIT_SECONDS),
    "TOLLGATE_ROUTER_IDLE_TIMEOUT_SECONDS": str(WAIT_SECONDS),
    "TOLLGATE_ROUTER_KEEP_IDLE_SECONDS": "1",
    "TOLLGATE_MEDIA_JOBS_CONNECT_TIMEOUT_SECONDS": str(WAIT_SECONDS),
    "TOLLGATE_MEDIA_JOBS_ANSWER_TIMEOUT_SECONDS": str(2 * WAIT_SECONDS),
    "TOLLGATE_MEDIA_JOBS_MAX_ATTEMPTS": "2",
    # Each fault is to be met again and again: no channel is left alone for having failed.
    "TOLLGATE_ROUTER_BENCH_SECONDS": "0",
    "TOLLGATE_ROUTER_BREAKER_FAILURES": "1000000",
    "TOLLGATE_ROUTER_BREAKER_RATIO_FAILURES": "1000000",
}


@pytest.fixture(scope="module")
def faulty():
    provider = FaultyProvider()
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    yield from simulated(tmp_path_factory.mktemp("simulator"), "simulated")


@pytest.fixture(scope="module")
def product(faulty, simulator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad_input")
    full = FullPort()
    full.start()
    channels = [
        simulator.channel(MODEL, DRAWS, "text-embedding-3-small"),
        channel("closed", free_port(), CLOSED, DRAWS_CLOSED),
        channel("full", full.port, FULL, DRAWS_FULL),
        channel("faulty", faulty.port, FAULTY, DRAWS_FAULTY),
    ]
    config = folder / "tollgate.yaml"
    config.write_text(json.dumps({"channels": channels}))
    running = Product(folder, ["--config", str(config)], LIMITS)
    try:
        # A connection that is kept would be counted.
        running.start().api.headers["connection"] = "close"
        # What opens on first use is open before anything is counted.
        assert chat(running).status_code == 200
        assert post(running, path="/images/generations", json=IMAGE).status_code == 200
        running.wait_booked(2)
        yield running
    finally:
        running.stop()
        full.stop()


def channel(name, port, *models):
    base = {"name": name, "provider": "openai-compatible", "base_url": f"http://127.0.0.1:{port}/v1"}
    return {**base, "models": list(models), "private_network": True}


# What a test must not leave behind.


@pytest.fixture(scope="module")
def most_tasks(product):
    """Name → most tasks of a process at rest; a few come and go, so every test is held to this first count."""
    return {name: max(inside(product, name)["tasks"] for _ in range(20)) for name in ("edge", "router", "media-jobs")}


@pytest.fixture(autouse=True)
def nothing_left_behind(product, faulty, most_tasks):
    """Every hold is returned, no descriptor and no task stays, nothing restarted, and no stack trace was logged."""
    wait_until(lambda: inside(product, "edge")["client_connections"] == 0, "connections of an earlier test to end")
    before = {name: inside(product, name) | {"tasks": tasks} for name, tasks in most_tasks.items()}
    pids = product.read_ready()["processes"]
    yield
    for name, held in before.items():
        seen = []

        def is_back(name=name, held=held, seen=seen):
            seen.append(inside(product, name))
            return all(least(seen)[key] <= held[key] for key in held)

        try:
            wait_until(is_back, "resources to be given back", 60)
        except Exception as error:
            raise AssertionError(f"{name} held {held}, and now at least {least(seen)}") from error
    wait_until(lambda: faulty.open == 0, "connections to providers to be closed")
    wait_settled(product)
    assert product.read_ready()["processes"] == pids
    for log in (product.home / "logs").glob("*.log"):
        assert "Traceback" not in log.read_text(errors="replace"), log.name


# Refused by edge before anything is spent.


def nested(depth):
    """A body of so many levels, the body itself included."""
    inner = json.dumps(body_of())[:-1].encode() + b',"x":'
    return inner + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


WHOLE = json.dumps(body_of()).encode()
BODIES = {
    "not JSON": (b"model=gpt-5-mini", 400, "invalid_request", None),
    "not UTF-8": (WHOLE.replace(b"hi", b"\xff\xfe"), 400, "invalid_request", None),
    "empty": (b"", 400, "invalid_request", None),
    "truncated": (WHOLE[:-2], 400, "invalid_request", None),
    "more after its end": (WHOLE + b"}", 400, "invalid_request", None),
    "a list": (b"[" + WHOLE + b"]", 400, "invalid_request", None),
    "a string": (b'"gpt-5-mini"', 400, "invalid_request", None),
    "null": (b"null", 400, "invalid_request", None),
    "no model": (b'{"messages":[]}', 400, "invalid_request", "model"),
    "model is 7": (b'{"model":7,"messages":[]}', 400, "invalid_request", "model"),
    "model is null": (b'{"model":null,"messages":[]}', 400, "invalid_request", "model"),
    "model is empty": (b'{"model":"","messages":[]}', 400, "invalid_request", "model"),
    "no messages": (b'{"model":"gpt-5-mini"}', 400, "invalid_request", "messages"),
    "stream is a word": (WHOLE[:-1] + b',"stream":"yes"}', 400, "invalid_request", "stream"),
    "unknown model": (WHOLE.replace(b"gpt-5-mini", b"gpt-99"), 404, "model_not_found", "model"),
    "model of another kind": (WHOLE.replace(b"gpt-5-mini", b"gpt-image-2"), 400, "invalid_request", "model"),
    "larger than the limit": (WHOLE + b" " * (MAX_BODY - len(WHOLE) + 1), 413, "payload_too_large", None),
    "much larger than the limit": (WHOLE + b" " * 5_000_000, 413, "payload_too_large", None),
    "deeper than the limit": (nested(MAX_DEPTH + 1), 400, "invalid_request", None),
    "deeper than any stack": (nested(40_000), 400, "invalid_request", None),
}


def test_a_body_that_is_not_as_it_should_be_is_refused(product, subtests):
    with nothing_billed(product):
        for what, (body, status, code, param) in BODIES.items():
            with subtests.test(what):
                reply = post(product, content=body, headers={"content-type": "application/json"})
                _, error = check_reply(reply, status, code)
                assert error["param"] == param


def test_a_body_at_its_limits_is_answered(product):
    """The limits are what the settings say, to the byte and to the level."""
    for body in (WHOLE + b" " * (MAX_BODY - len(WHOLE)), nested(MAX_DEPTH)):
        assert post(product, content=body, headers={"content-type": "application/json"}).status_code == 200


def test_a_chunked_body_larger_than_the_limit_is_refused(product):
    with nothing_billed(product):
        reply = post(product, content=(b" " * 50_000 for _ in range(8)), headers={"content-type": "application/json"})
        check_reply(reply, 413, "payload_too_large")


def test_an_unknown_key_is_refused(product, subtests):
    unknown = product.api_key[:-4] + ("aaaa" if product.api_key[-4:] != "aaaa" else "bbbb")
    calls = [("POST", "chat/completions"), ("POST", "embeddings"), ("POST", "images/generations"), ("GET", "models")]
    with nothing_billed(product):
        for key in ("not-a-key", unknown, "tg_" + "x" * 3000):
            for method, path in calls:
                with subtests.test(path, key=key[:8]):
                    reply = request(product, method, f"/v1/{path}", key, json=body_of())
                    check_reply(reply, 401, "invalid_api_key")
                    assert key not in reply.text


def test_no_key_is_refused(product):
    with nothing_billed(product):
        reply = httpx.post(f"{product.base_url}/chat/completions", json=body_of(), timeout=60, trust_env=False)
        check_reply(reply, 401, "invalid_api_key")


def test_a_revoked_key_is_refused_as_soon_as_edge_has_heard_of_it(product):
    made = product.create_key("to be revoked")
    first = post(product, key=made["key"], json=body_of())
    assert first.status_code == 200
    row_of(product, first.headers["x-request-id"])
    with nothing_billed(product):
        assert product.api.post(f"/api/v1/keys/{made['id']}/revoke").status_code == 200
        # Edge asks for changes a few times a second; asking for models is free.
        wait_until(lambda: request(product, "GET", "/v1/models", made["key"]).status_code == 401, "the key is refused")
        check_reply(post(product, key=made["key"], json=body_of()), 401, "invalid_api_key")


def test_a_wrong_method_is_refused_with_405(product, subtests):
    with nothing_billed(product):
        for path in ("/v1/chat/completions", "/embeddings", "/v1/images/generations"):
            for method in ("GET", "PUT", "DELETE", "PATCH"):
                with subtests.test(path, method=method):
                    reply = request(product, method, path)
                    check_reply(reply, 405, "method_not_allowed")
                    assert reply.headers["allow"] == "POST"


def test_a_wrong_content_type_is_refused(product, subtests):
    with nothing_billed(product):
        for path in ("/chat/completions", "/embeddings", "/images/generations"):
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
                with subtests.test(path, kind=kind):
                    reply = post(product, path=path, content=WHOLE, headers={"content-type": kind})
                    check_reply(reply, 415, "unsupported_media_type")


FRAMINGS = {
    "two content lengths": ("Content-Length: 4", "Content-Length: 5"),
    "two content lengths in one": ("Content-Length: 4, 5",),
    "a length and chunks": ("Content-Length: 4", "Transfer-Encoding: chunked"),
    "a length that is no number": ("Content-Length: four",),
    "a coding that is not known": ("Transfer-Encoding: gzip",),
}


def test_a_body_with_two_ends_is_refused(product, subtests):
    with nothing_billed(product):
        for path in ("/v1/chat/completions", "/v1/images/generations"):
            for what, lines in FRAMINGS.items():
                with subtests.test(what, path=path):
                    head = head_of(product, "Content-Type: application/json", *lines, path=path)
                    check_error(*sent(product, head + b"{}\r\n"), 400, "invalid_request")


# Clients that do not finish.


def test_a_client_that_never_finishes_is_answered_with_408(product, subtests):
    lines = ("Content-Type: application/json", f"Content-Length: {len(WHOLE)}")
    unfinished = {
        "its body": head_of(product, *lines) + WHOLE[:-1],
        "its body, to the app": head_of(product, *lines, path="/v1/images/generations") + WHOLE[:-1],
        "its head": head_of(product)[:-2],
    }
    with nothing_billed(product):
        found = at_once(lambda what: sent(product, unfinished[what]), unfinished)
        for what, reply in found.items():
            with subtests.test(what):
                check_error(*reply, 408, "request_timeout")


def test_a_client_that_goes_away_within_its_body_costs_nothing(product):
    with nothing_billed(product):
        for path in ("/v1/chat/completions", "/v1/images/generations"):
            with raw(product) as connection:
                head = head_of(product, "Content-Type: application/json", f"Content-Length: {len(WHOLE)}", path=path)
                connection.sendall(head + WHOLE[:-1])


def test_a_client_that_goes_away_while_streaming_pays_for_what_came(product):
    """The provider's stream is closed too, long before its 10,000 pieces have come."""
    options = {"json": body_of("[[sim:chunks=10000,gap_ms=20]]", stream=True), "timeout": 60, "trust_env": False}
    options["headers"] = {"authorization": f"Bearer {product.api_key}"}
    with httpx.Client(timeout=60, trust_env=False) as client:
        del options["trust_env"]
        with client.stream("POST", f"{product.base_url}/chat/completions", **options) as reply:
            assert reply.status_code == 200
            request_id = reply.headers["x-request-id"]
            pieces = iter(reply.iter_lines())
            for _ in range(20):
                next(pieces)
    row = row_of(product, request_id)
    assert (row["outcome"], row["estimated"], row["stream"]) == ("cancelled", True, True)
    assert 5 < int(row["output_tokens"]) < 5000
    assert int(row["charge_pico"]) > 0


def test_a_client_that_goes_away_before_the_answer_pays_nothing(product):
    body = json.dumps(body_of("[[sim:slow-headers=60]]")).encode()
    before = {row["request_id"] for row in product.requests()}
    with raw(product) as connection:
        lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        connection.sendall(head_of(product, *lines) + body)
        wait_until(lambda: inside(product, "router")["open_requests"] == 1, "the request to be under way")
    wait_until(lambda: {row["request_id"] for row in product.requests()} - before, "its row")
    (row,) = [row for row in product.requests() if row["request_id"] not in before]
    assert (row["outcome"], int(row["charge_pico"]), int(row["output_tokens"])) == ("cancelled", 0, 0)


# Providers that fail: fault → status, code, outcome of the row.


UNAVAILABLE = (502, "upstream_unavailable", "upstream_error")
UNREADABLE = (502, "upstream_protocol_error", "upstream_error")
BROKE_OFF = (502, "upstream_cut", "upstream_error")
TIMED_OUT = (504, "upstream_timeout", "timeout")
BAD_PROVIDERS = {
    "refuses connections": (CLOSED, "hi", UNAVAILABLE),
    "never takes the connection": (FULL, "hi", TIMED_OUT),
    "stalls at once": (FAULTY, "stalls-at-once", TIMED_OUT),
    "stalls in its head": (FAULTY, "stalls-in-the-head", TIMED_OUT),
    "stalls in its body": (FAULTY, "stalls-in-the-body", TIMED_OUT),
    "closes without a word": (FAULTY, "says-nothing", BROKE_OFF),
    "cuts its head": (FAULTY, "cuts-the-head", BROKE_OFF),
    "cuts its body": (FAULTY, "cuts-the-body", BROKE_OFF),
    "announces more than it sends": (FAULTY, "announces-more", BROKE_OFF),
    "announces less than it sends": (FAULTY, "announces-less", UNREADABLE),
    "announces two lengths": (FAULTY, "two-lengths", UNREADABLE),
    "announces a length and chunks": (FAULTY, "both-framings", UNREADABLE),
    "answers HTML": (FAULTY, "answers-html", UNREADABLE),
    "refuses in HTML": (FAULTY, "refuses-in-html", UNAVAILABLE),
    "speaks another protocol": (FAULTY, "no-http", UNREADABLE),
    "has an endless head": (FAULTY, "endless-head", UNREADABLE),
    "says too much": (FAULTY, "says-too-much", (400, "invalid_request", "upstream_error")),
    "is overloaded": (MODEL, "[[sim:status=503]]", (503, "server_is_overloaded", "upstream_error")),
    "answers 500": (MODEL, "[[sim:status=500]]", UNAVAILABLE),
    "answers HTML, the simulator": (MODEL, "[[sim:html]]", UNREADABLE),
    "drops the connection": (MODEL, "[[sim:drop]]", BROKE_OFF),
    "sends no headers in time": (MODEL, "[[sim:slow-headers=60]]", TIMED_OUT),
    "sends no body in time": (MODEL, "[[sim:delay=60]]", TIMED_OUT),
    "rejects our key": (MODEL, "[[sim:status=401]]", (502, "upstream_credentials_rejected", "upstream_error")),
    "has too many requests": (MODEL, "[[sim:status=429]]", (429, "upstream_rate_limited", "upstream_error")),
}


WHOLE_ONLY = {
    "answers nothing": (FAULTY, "empty", UNREADABLE),
    "answers what is no JSON": (MODEL, "[[sim:malformed]]", UNREADABLE),
    "announces too long a body": (MODEL, "[[sim:short-length]]", BROKE_OFF),
}
STREAM_ONLY = {"answers nothing": (FAULTY, "empty", BROKE_OFF)}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_provider_that_fails_before_its_first_word_costs_nothing(product, subtests, stream):
    table = BAD_PROVIDERS | (STREAM_ONLY if stream else WHOLE_ONLY)
    more = {"stream": True} if stream else {}
    replies = at_once(lambda what: chat(product, table[what][1], table[what][0], **more), table)
    for what, (_, _, (status, code, outcome)) in table.items():
        with subtests.test(what):
            request_id, _ = check_reply(replies[what], status, code)
            row = row_of(product, request_id)
            assert (row["outcome"], row["final"], int(row["charge_pico"])) == (outcome, True, 0)
            assert (int(row["input_tokens"]), int(row["output_tokens"])) == (0, 0)


BROKEN_STREAMS = {
    "cut": (FAULTY, "cuts-the-stream", "upstream_cut"),
    "framing lost": (FAULTY, "breaks-the-stream", "upstream_protocol_error"),
    "stalled": (FAULTY, "stalls-in-the-stream", "upstream_timeout"),
    "cut by the simulator": (MODEL, "[[sim:cut=5]]", "upstream_cut"),
    "stalled by the simulator": (MODEL, "[[sim:stall=5]]", "upstream_timeout"),
    # One in one read with the first words would be no stream that breaks off.
    "error within": (MODEL, "[[sim:hold=5,mid-error=5]]", "upstream_unavailable"),
    "without its end": (MODEL, "[[sim:cut=5,no-done]]", "upstream_cut"),
}


def test_a_stream_that_breaks_off_ends_with_an_error_and_is_charged_as_far_as_it_came(product, simulator, subtests):
    def ask(what):
        model, word, _ = BROKEN_STREAMS[what]
        return streamed(product, word, model, simulator.release if "hold" in word else lambda: None)

    replies = at_once(ask, BROKEN_STREAMS)
    for what, (_, _, code) in BROKEN_STREAMS.items():
        with subtests.test(what):
            check_broken_stream(product, replies[what], code)


def check_broken_stream(product, reply, code):
    assert reply.status_code == 200
    check_no_detail(reply.text)
    events = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    error = json.loads(events[-2])["error"]
    assert set(error) == {"message", "type", "param", "code", "doc_url"}
    assert error["code"] == code
    pieces = [json.loads(event) for event in events[:-2]]
    assert len(pieces) >= 2
    assert all("choices" in piece for piece in pieces)
    row = row_of(product, reply.headers["x-request-id"])
    assert (row["outcome"], row["estimated"]) == ("upstream_cut", True)
    # The provider told no usage: what is charged is estimated from what went through.
    assert 0 < int(row["output_tokens"]) <= 1.25 * len(pieces)
    assert int(row["charge_pico"]) > 0


UNKNOWN = "provider_outcome_unknown"
# Model, prompt → code, outcome of the last attempt, attempts. Whether pictures were made is not known once a request
# was sent and no answer came: then they are not asked for twice.
IMAGE_FAULTS = {
    "says that it failed": (DRAWS, "[[sim:status=500]]", "upstream_unavailable", "upstream_error", 1),
    "is overloaded": (DRAWS, "[[sim:status=503,retry_after=1]]", "upstream_unavailable", "upstream_error", 2),
    "has a limit": (DRAWS, "[[sim:status=429,retry_after=1]]", "upstream_rate_limited", "upstream_error", 2),
    "answers HTML": (DRAWS, "[[sim:html]]", "upstream_protocol_error", "upstream_error", 1),
    "answers what is no JSON": (DRAWS, "[[sim:malformed]]", "upstream_protocol_error", "upstream_error", 1),
    "closes without a word": (DRAWS, "[[sim:drop]]", UNKNOWN, "upstream_cut", 1),
    "announces too long a body": (DRAWS, "[[sim:short-length]]", UNKNOWN, "upstream_cut", 1),
    "refuses the key": (DRAWS, "[[sim:status=401]]", "upstream_credentials_rejected", "upstream_error", 1),
    "stalls at once": (DRAWS, "[[sim:slow-headers=60]]", UNKNOWN, "upstream_cut", 1),
    "stalls behind its head": (DRAWS, "[[sim:delay=60]]", UNKNOWN, "upstream_cut", 1),
    "stalls in its body": (DRAWS, "[[sim:stall=20]]", UNKNOWN, "upstream_cut", 1),
    "refuses connections": (DRAWS_CLOSED, "x", "upstream_unavailable", "upstream_error", 2),
    "never takes the connection": (DRAWS_FULL, "x", "upstream_unavailable", "upstream_error", 2),
    "stalls in its head": (DRAWS_FAULTY, "stalls-in-the-head", UNKNOWN, "upstream_cut", 1),
    "cuts its head": (DRAWS_FAULTY, "cuts-the-head", UNKNOWN, "upstream_cut", 1),
    "cuts its body": (DRAWS_FAULTY, "cuts-the-body", UNKNOWN, "upstream_cut", 1),
    "breaks a chunk": (DRAWS_FAULTY, "breaks-a-chunk", UNKNOWN, "upstream_cut", 1),
    "cuts its trailer": (DRAWS_FAULTY, "cuts-the-trailer", UNKNOWN, "upstream_cut", 1),
    "announces two lengths": (DRAWS_FAULTY, "two-lengths", UNKNOWN, "upstream_cut", 1),
    "announces a length and chunks": (DRAWS_FAULTY, "both-framings", "upstream_protocol_error", "upstream_error", 1),
    "speaks another protocol": (DRAWS_FAULTY, "no-http", UNKNOWN, "upstream_cut", 1),
    "has an endless head": (DRAWS_FAULTY, "endless-head", UNKNOWN, "upstream_cut", 1),
    "refuses in HTML": (DRAWS_FAULTY, "refuses-in-html", UNKNOWN, "upstream_cut", 1),
    "answers without pictures": (DRAWS_FAULTY, "empty", "upstream_protocol_error", "upstream_error", 1),
}


def test_an_image_that_fails_costs_nothing(product, subtests):
    def draw(what):
        model, prompt, *_ = IMAGE_FAULTS[what]
        return post(product, path="/images/generations", json={**IMAGE, "model": model, "prompt": prompt})

    for what, reply in at_once(draw, IMAGE_FAULTS).items():
        _, _, code, outcome, attempts = IMAGE_FAULTS[what]
        with subtests.test(what):
            request_id, _ = check_reply(reply, reply.status_code, code)
            assert reply.status_code in ({429} if code == "upstream_rate_limited" else {502, 504})
            rows = rows_of(product, request_id, attempts)
            assert [row["final"] for row in rows] == [False] * (attempts - 1) + [True]
            assert rows[-1]["outcome"] == outcome
            assert sum(int(row["charge_pico"]) + int(row["images"]) for row in rows) == 0
