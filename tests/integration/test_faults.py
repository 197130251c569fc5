"""Every fault of a provider at every stage of its reply, whole and streamed, with another target behind it or none.

One table says what the caller gets, what was tried, what the channel's health makes of it and what is paid. Each case
has a model and channels of its own, so that all run at the same time and none sees the breakers of another.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
from tests.integration.fault_places import Providers, ask, check_nothing_left, events_of
from tests.integration.faulty import FAULTS, RESETS, STALLS
from tests.integration.left_behind import inside
from tests.integration.product import Product

pytestmark = pytest.mark.integration

# One failure opens a breaker, which then stays open for as long as the test looks at it.
SETTINGS = {"TOLLGATE_ROUTER_BREAKER_FAILURES": "1", "TOLLGATE_ROUTER_BREAKER_SECONDS": "3600"}
# Only silence is asked of a product that waits a short time: on a loaded machine the other faults may come late.
IMPATIENT = {
    "TOLLGATE_ROUTER_CONNECT_TIMEOUT_SECONDS": "4",
    "TOLLGATE_ROUTER_FIRST_BYTE_TIMEOUT_SECONDS": "4",
    "TOLLGATE_ROUTER_IDLE_TIMEOUT_SECONDS": "4",
}
# A token of the prompt costs 1,000,000 pico-units and one of the answer twice that; a reply has 3 and 2 of them.
PRICES = {"input": "1", "output": "2"}
WHOLE_PICO = 3 * 1_000_000 + 2 * 2_000_000


@dataclass(frozen=True)
class Fault:
    """`place` is a server of `Providers`, `word` what its prompt asks for; the rest is what must come of it.

    `status` and `code` are the caller's when nobody else is there to ask; `kind` opens the breaker.
    `delivered`: the stream had begun, so that it is asked for nowhere else: `cut` in the middle, or `whole`; or it is
    the caller's fault, whom nobody else would serve: `refused`.
    """

    place: str
    word: str
    status: int
    code: str
    outcome: str = "upstream_error"
    kind: str = ""
    delivered: str = ""


def unavailable(place, word="x"):
    return Fault(place, word, 502, "upstream_unavailable", kind="upstream_unavailable")


def timed_out(word, place="faulty"):
    return Fault(place, word, 504, "upstream_timeout", "timeout", "upstream_timeout")


def is_silence(fault):
    return fault.word in STALLS or fault.place in ("full", "silent-tls", "stalled-tls", "silent-proxy")


def cut(word):
    return Fault("faulty", word, 502, "upstream_cut", kind="upstream_cut")


def unreadable(word):
    return Fault("faulty", word, 502, "upstream_protocol_error", kind="upstream_protocol")


def placed(fault, place):
    """The same fault at another server."""
    return replace(fault, place=place, word="x")


def within(word, code, kind):
    return Fault("faulty", word, 200, code, "upstream_cut", kind, "cut")


def after(word):
    return Fault("faulty", word, 200, "", "ok", "", "whole")


BOTH = {
    "connect: refused": unavailable("closed"),
    "connect: reset": placed(cut("x"), "resetting"),
    "connect: a black hole": timed_out("x", "full"),
    "tls: none is spoken": unavailable("no-tls"),
    "tls: closed in the handshake": unavailable("closing-tls"),
    "tls: silence in the handshake": timed_out("x", "silent-tls"),
    "tls: another's certificate": unavailable("strange-tls"),
    "tls: a certificate that has expired": unavailable("expired-tls"),
    "tls: a certificate for another name": unavailable("misnamed-tls"),
    "tls: closed behind the handshake": placed(cut("x"), "cut-tls"),
    "tls: silence behind the handshake": timed_out("x", "stalled-tls"),
    "proxy: refused": unavailable("closed-proxy"),
    "proxy: lets nobody through": unavailable("refusing-proxy"),
    "proxy: closed": unavailable("closing-proxy"),
    "proxy: silence": timed_out("x", "silent-proxy"),
    "head: no word": cut("says-nothing"),
    "head: cut": cut("cuts-the-head"),
    "head: reset": cut("resets-in-the-head"),
    "head: reset at once": cut("resets-at-once"),
    "head: nothing but informational ones": cut("only-informational"),
    "head: no status": unreadable("no-status"),
    "head: silence at once": timed_out("stalls-at-once"),
    "head: silence within": timed_out("stalls-in-the-head"),
    "head: another protocol": unreadable("no-http"),
    "head: endless": unreadable("endless-head"),
    "head: two lengths": unreadable("two-lengths"),
    "head: length and chunks": unreadable("both-framings"),
    "head: refuses in HTML": unavailable("faulty", "refuses-in-html"),
    "head: blames the caller": Fault("faulty", "says-too-much", 400, "invalid_request", delivered="refused"),
    "body: HTML": unreadable("answers-html"),
    "body: cut": cut("cuts-the-body"),
    "body: reset": cut("resets-in-the-body"),
    "body: not packed as it says": unreadable("broken-gzip"),
    "body: packed, and cut": cut("cuts-gzip"),
    "body: packed in an unknown way": unreadable("unknown-encoding"),
    "body: silence": timed_out("stalls-in-the-body"),
    "body: longer than announced": unreadable("announces-less"),
    "body: shorter than announced": cut("announces-more"),
    "chunk: cut": cut("cuts-a-chunk"),
    "chunk: reset": cut("resets-in-a-chunk"),
    "chunk: larger than any": unreadable("huge-chunk"),
    "chunk: broken": unreadable("breaks-a-chunk"),
    "chunk: silence": timed_out("stalls-in-a-chunk"),
    "chunk: cut before the first": cut("cuts-before-the-first-chunk"),
    "chunk: broken before the first": unreadable("breaks-before-the-first-chunk"),
    "chunk: silence before the first": timed_out("stalls-before-the-first-chunk"),
}
WHOLE_ONLY = {
    "body: none": unreadable("empty"),
    "trailer: cut": cut("cuts-the-trailer"),
    "trailer: broken": unreadable("breaks-the-trailer"),
    "trailer: endless": unreadable("endless-trailer"),
    "trailer: silence": timed_out("stalls-in-the-trailer"),
}
STREAM_ONLY = {
    "body: none": cut("empty"),
    "chunk: cut between two": within("cuts-the-stream", "upstream_cut", "upstream_cut"),
    "chunk: reset between two": within("resets-the-stream", "upstream_cut", "upstream_cut"),
    "chunk: cut within one": within("cuts-within-a-chunk-of-the-stream", "upstream_cut", "upstream_cut"),
    "chunk: broken within": within("breaks-the-stream", "upstream_protocol_error", "upstream_protocol"),
    "chunk: silence within": within("stalls-in-the-stream", "upstream_timeout", "upstream_timeout"),
    "trailer: cut": after("cuts-the-trailer-of-the-stream"),
    # It comes in one read with all before it: of what breaks the rules nothing is passed on.
    "trailer: broken": unreadable("breaks-the-trailer-of-the-stream"),
    "trailer: endless": after("endless-trailer-of-the-stream"),
    "trailer: silence": after("stalls-in-the-trailer-of-the-stream"),
}
TABLE = {
    (name, "stream" if stream else "whole", "last" if last else "first"): fault
    for stream, only in ((False, WHOLE_ONLY), (True, STREAM_ONLY))
    for last in (False, True)
    for name, fault in (BOTH | only).items()
}
MODELS = {case: f"m-{number}" for number, case in enumerate(TABLE)}


def declared(providers):
    """Each case's model goes to `…-a`, which fails, and then to `…-b`, which answers, or fails alike."""
    channels, routes = [], []
    for case, fault in TABLE.items():
        model = MODELS[case]
        second = fault.place if case[2] == "last" else "well"
        channels += [
            providers.channel(f"{model}-a", fault.place, model),
            providers.channel(f"{model}-b", second, model),
        ]
        levels = [{"targets": [{"channel": f"{model}-{which}"}]} for which in "ab"]
        routes.append({"model": model, "levels": levels})
    prices = dict.fromkeys(MODELS.values(), PRICES)
    book = {"name": "public", "effective": "2026-01-01T00:00:00Z", "currency": "USD", "models": prices}
    return {"channels": channels, "routes": routes, "price_books": [book]}


@dataclass(frozen=True)
class Measured:
    """`hindrances`: channel → (subject, obstacle, detail) of what its health holds back; `rows`: of each request."""

    replies: dict
    hindrances: dict
    rows: dict


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Everything of every case, from two products one after the other."""
    providers = Providers(tmp_path_factory.mktemp("certificates"))
    config = tmp_path_factory.mktemp("config") / "tollgate.yaml"
    resources = declared(providers)
    resources["channels"].append(providers.channel("warm", "well", "warm"))
    resources["price_books"][0]["models"]["warm"] = PRICES
    config.write_text(json.dumps(resources))
    silent = [case for case, fault in TABLE.items() if is_silence(fault)]
    others = [case for case in TABLE if case not in silent]
    whole = Measured({}, {}, {})
    try:
        for cases, settings, at_once in ((others, SETTINGS, 12), (silent, SETTINGS | IMPATIENT, len(silent))):
            running = Product(tmp_path_factory.mktemp("faults"), ["--config", str(config)], settings)
            try:
                running.start().api.headers["connection"] = "close"
                measure(running, providers, cases, at_once, whole)
            finally:
                running.stop()
    finally:
        providers.stop()
    return whole


def measure(product, providers, cases, at_once, whole):
    """Asks all `cases` at the same time and adds what came of them to `whole`; nothing of any may be left behind."""
    assert ask(product, providers.readers, "warm", "x", stream=False).status_code == 200
    product.wait_booked(1)
    before = {name: inside(product, name) for name in ("edge", "router")}
    tasks = {name: max(inside(product, name)["tasks"] for _ in range(20)) for name in before}
    ledger = int(product.balance()["ledger_pico"])

    def one(case):
        return ask(product, providers.readers, MODELS[case], TABLE[case].word, stream=case[1] == "stream")

    with ThreadPoolExecutor(at_once) as pool:
        whole.replies.update(zip(cases, pool.map(one, cases), strict=True))
    product.wait_booked(1 + len(cases))
    check_nothing_left(product, providers, {name: before[name] | {"tasks": tasks[name]} for name in before})
    rows = [row for row in product.requests() if row["model"] != "warm"]
    assert ledger - int(product.balance()["ledger_pico"]) == sum(int(row["charge_pico"]) for row in rows)
    for row in sorted(rows, key=lambda row: row["attempt"]):
        whole.rows.setdefault(row["request_id"], []).append(row)
    asked = {f"{MODELS[case]}-{which}" for case in cases for which in "ab"}
    for channel in product.get("router")["routers"][0]["channels"]:
        if channel["channel"] in asked:
            hindrances = [(one["subject"], one["obstacle"], one["detail"]) for one in channel["hindrances"]]
            whole.hindrances[channel["channel"]] = hindrances


def check_caller(reply, fault, *, stream, last):
    if fault.delivered == "cut":
        assert reply.status_code == 200
        *pieces, error, done = events_of(reply)
        assert (json.loads(error)["error"]["code"], done) == (fault.code, "[DONE]")
        assert all("choices" in json.loads(piece) for piece in pieces)
    elif fault.delivered == "refused" or (last and not fault.delivered):
        assert (reply.status_code, reply.json()["error"]["code"]) == (fault.status, fault.code)
    else:
        assert reply.status_code == 200, reply.text
        assert '"error"' not in reply.text
        if stream:
            assert events_of(reply).count("[DONE]") == 1
            assert events_of(reply)[-1] == "[DONE]"
        else:
            assert reply.json()["choices"][0]["message"]["content"] == "hello"


def check_rows(rows, fault, model, *, last):
    """Attempts in their order, each with its outcome, and who is paid for."""
    found = [(row["channel"], row["outcome"], row["final"], int(row["charge_pico"])) for row in rows]
    if fault.delivered:
        ((channel, outcome, final, charge),) = found
        assert (channel, outcome, final) == (f"{model}-a", fault.outcome, True)
        assert {"whole": charge == WHOLE_PICO, "cut": charge > 0, "refused": charge == 0}[fault.delivered]
        assert rows[0]["estimated"] is (fault.delivered == "cut")
    else:
        second = (fault.outcome, True, 0) if last else ("ok", True, WHOLE_PICO)
        assert found == [(f"{model}-a", fault.outcome, False, 0), (f"{model}-b", *second)]


def test_every_fault_of_the_server_is_in_the_table_whole_and_streamed_first_and_last():
    tried = {fault.word for fault in TABLE.values() if fault.place == "faulty"}
    assert tried == FAULTS.keys() | STALLS.keys() | RESETS.keys()
    for stream, only in (("whole", WHOLE_ONLY), ("stream", STREAM_ONLY)):
        for last in ("first", "last"):
            assert {name for name, *which in TABLE if which == [stream, last]} == BOTH.keys() | only.keys()


@pytest.mark.parametrize("case", TABLE, ids=" ".join)
def test_a_fault(measured, case):
    fault, model, reply = TABLE[case], MODELS[case], measured.replies[case]
    stream, last = case[1] == "stream", case[2] == "last"
    check_caller(reply, fault, stream=stream, last=last)
    check_rows(measured.rows[reply.headers["x-request-id"]], fault, model, last=last)
    opened = [(model, "breaker_open", fault.kind)] if fault.kind else []
    assert measured.hindrances[f"{model}-a"] == opened
    assert measured.hindrances[f"{model}-b"] == (opened if last and not fault.delivered else [])
