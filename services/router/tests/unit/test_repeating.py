"""Which failures lead on to another provider, by what is asked for: what may be paid twice is asked once."""

import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.versions import channel, snapshot

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.failure import FailureKind

pytestmark = pytest.mark.unit
FORM_TYPE = b"multipart/form-data; boundary=XX"
FORM = (
    b'--XX\r\ncontent-disposition: form-data; name="model"\r\n\r\nable\r\n'
    b'--XX\r\ncontent-disposition: form-data; name="file"; filename="a.mp3"\r\n\r\nabc\r\n--XX--\r\n'
)
JSON = {
    wire.OPERATION_CHAT: b'{"messages":[]}',
    wire.OPERATION_EMBEDDINGS: b'{"input":"a"}',
    wire.OPERATION_COMPLETION: b'{"prompt":"a"}',
    wire.OPERATION_MODERATION: b'{"input":"a"}',
    wire.OPERATION_RERANK: b'{"query":"a","documents":["b"]}',
    wire.OPERATION_SPEECH: b'{"input":"a","voice":"b"}',
}
ONCE = (wire.OPERATION_SPEECH, wire.OPERATION_TRANSCRIPTION, wire.OPERATION_TRANSLATION)
ANY = tuple(operation for operation in JSON if operation not in ONCE)


def cut_within(status):
    """Returns what begins an answer of this status and breaks off."""

    def fails(call):
        call.sink.upstream_head(status, [])
        call.fail()

    return fails


# What happens to the first attempt, and whether the next provider is asked: of what may be repeated, of what may not.
FAILURES = {
    # Nothing was sent.
    "no connection": (lambda call: call.fail(FailureKind.REFUSED, sent=False), True, True),
    "an address that may not be reached": (lambda call: call.fail(FailureKind.DENIED, sent=False), True, True),
    "our connections are taken": (lambda call: call.fail(FailureKind.BUSY, sent=False), True, True),
    "no connection in time": (lambda call: call.fail(FailureKind.CONNECT_TIMEOUT, sent=False), True, True),
    "no handshake": (lambda call: call.fail(FailureKind.TLS, sent=False), True, True),
    "no token": (lambda call: call.fail(FailureKind.NO_PROOF, sent=False), True, True),
    "no time left while it waits": (lambda call: call.fail(FailureKind.TOTAL_TIMEOUT, sent=False), True, True),
    # The provider refused it, and says so.
    "401": (lambda call: call.reply(401), True, True),
    "402": (lambda call: call.reply(402), True, True),
    "403": (lambda call: call.reply(403), True, True),
    "404": (lambda call: call.reply(404), True, True),
    "409": (lambda call: call.reply(409), True, True),
    "429": (lambda call: call.reply(429), True, True),
    # It may have done the work.
    "408": (lambda call: call.reply(408), True, False),
    "500": (lambda call: call.reply(500), True, False),
    "502": (lambda call: call.reply(502), True, False),
    "503": (lambda call: call.reply(503), True, False),
    "504": (lambda call: call.reply(504), True, False),
    "529": (lambda call: call.reply(529), True, False),
    "broke off before its head": (lambda call: call.fail(), True, False),
    "broke off after its head": (cut_within(200), True, False),
    "broke off within a refusal": (cut_within(429), True, False),
    "no first byte in time": (lambda call: call.fail(FailureKind.FIRST_BYTE_TIMEOUT), True, False),
    "silence": (lambda call: call.fail(FailureKind.IDLE_TIMEOUT), True, False),
    "all took too long": (lambda call: call.fail(FailureKind.TOTAL_TIMEOUT), True, False),
    "an answer that is no HTTP": (lambda call: call.fail(FailureKind.PROTOCOL), True, False),
    "an answer of another kind": (lambda call: call.reply(200, b"<html>", content_type="text/html"), True, False),
    # The caller is to blame: nobody else would say otherwise.
    "400": (lambda call: call.reply(400), False, False),
    "422": (lambda call: call.reply(422), False, False),
    "499": (lambda call: call.reply(499), False, False),
}


@pytest.fixture
def router(tmp_path):
    return Router(tmp_path, snapshot([channel("a"), channel("b")]))


def begin(router, operation):
    """Begins a request and returns its first attempt."""
    if operation in JSON:
        router.open(operation=operation, body=JSON[operation])
    else:
        headers = [wire.Header(name=b"content-type", value=FORM_TYPE)]
        router.open(operation=operation, body=FORM, headers=headers)
    (call,) = router.upstream.calls
    return call


@pytest.mark.parametrize("operation", [*ANY, *ONCE], ids=wire.Operation.Name)
@pytest.mark.parametrize(("fails", "repeated", "repeated_once"), FAILURES.values(), ids=FAILURES.keys())
def test_after_a_failure_the_next_provider_is_asked(router, operation, fails, repeated, repeated_once):
    call = begin(router, operation)
    fails(call)
    elsewhere = repeated_once if operation in ONCE else repeated
    assert len(router.upstream.calls) == 1 + elsewhere
    assert router.open_calls() == elsewhere
    call.sink.cancel()
    # Each attempt has its event, and only the last is final.
    assert [event.final for event in router.events] == ([False, True] if elsewhere else [True])
    assert router.open_calls() == 0


@pytest.mark.parametrize("operation", ONCE, ids=wire.Operation.Name)
def test_a_connection_that_broke_leaves_the_outcome_unknown(router, operation):
    begin(router, operation).fail()
    end = router.end()
    assert (end.error.kind, end.error.code) == (errors.ERROR_KIND_UPSTREAM_CUT, "provider_outcome_unknown")
    assert (end.outcome, end.attempts, end.charge_pico) == (wire.OUTCOME_UPSTREAM_ERROR, 1, 0)


def test_what_a_provider_said_is_told_as_it_is(router):
    begin(router, wire.OPERATION_SPEECH).reply(503)
    end = router.end()
    assert (end.error.kind, end.error.code) == (errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, "server_is_overloaded")


def test_a_second_failure_may_be_the_one_that_ends_it(router):
    begin(router, wire.OPERATION_SPEECH).reply(429)
    router.upstream.calls[1].fail()
    assert len(router.upstream.calls) == 2
    assert router.end().error.code == "provider_outcome_unknown"
