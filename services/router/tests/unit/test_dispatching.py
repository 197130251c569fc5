"""Attempts at targets whose proof is made, or waited for: what is sent, what is told, what is given up."""

import asyncio
from dataclasses import replace

import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.versions import channel, route, snapshot

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.translate import Sending
from tollgate_router.domain.failure import FailureKind
from tollgate_router.domain.upstream_errors import Bench
from tollgate_router.exchange.dispatching import dispatch
from tollgate_router.upstream.client import Timeouts

pytestmark = pytest.mark.unit
ASKED = Sending(b"/chat", b"{}", None, lambda body: (None, body))


class Signer:
    """Has the proof that the test gives it."""

    def __init__(self, line=None):
        self.line = line
        self.waiting = []
        self.rejections = 0
        self.signed = None

    def proof(self, method, authority, path, body, now_us):
        """Returns it."""
        self.signed = method, authority, path, body, now_us
        return self.line

    def wait(self, then):
        """Keeps who waits."""
        self.waiting.append(then)
        return lambda: then in self.waiting and self.waiting.remove(then)

    def rejected(self):
        """Counts."""
        self.rejections += 1


class Sink:
    """Keeps why a call failed."""

    def __init__(self):
        self.failed = asyncio.Event()
        self.kind = None

    def upstream_failed(self, failure):
        """Takes it."""
        self.kind = failure.kind
        self.failed.set()


@pytest.fixture
def router(tmp_path):
    return Router(tmp_path, snapshot([channel("a")], [route("able", ["a"])]))


def signed_by(router, signer):
    """Returns the router's only target, as one that this proves."""
    (target,) = router.deps.snapshot.route("default", "able").base.levels[0].targets
    return replace(target, signer=signer, query="?v=1")


def send(router, signer, total=60.0):
    sink = Sink()
    return sink, dispatch(router.deps, signed_by(router, signer), ASKED, (), sink, Timeouts(total=total))


def test_proof_that_is_there_goes_along_at_once(router):
    signer = Signer(b"authorization: x\r\n")
    send(router, signer)
    assert router.upstream.calls[0].proof == b"authorization: x\r\n"
    assert signer.signed[:4] == (b"POST", "api.example", b"/v1/chat?v=1", b"{}")
    assert signer.waiting == []


async def test_a_call_waits_for_its_proof_and_is_then_the_clients(router):
    signer = Signer()
    _, call = send(router, signer)
    call.pause()
    call.resume()
    assert router.upstream.calls == []
    signer.line = b"authorization: x\r\n"
    signer.waiting.pop()("")
    assert router.upstream.calls[0].proof == b"authorization: x\r\n"
    call.cancel()
    assert router.upstream.calls[0].cancelled


async def test_what_was_waited_for_proof_is_taken_from_the_time_of_the_call(router):
    signer = Signer()
    send(router, signer, total=60.0)
    router.clock.advance(25)
    signer.line = b"authorization: x\r\n"
    signer.waiting.pop()("")
    (call,) = router.upstream.calls
    assert call.timeouts == Timeouts(total=35.0)


async def test_proof_that_comes_when_no_time_is_left_sends_nothing(router):
    signer = Signer()
    sink, _ = send(router, signer, total=60.0)
    router.clock.advance(60)
    signer.line = b"authorization: x\r\n"
    signer.waiting.pop()("")
    assert (sink.kind, router.upstream.calls) == (FailureKind.TOTAL_TIMEOUT, [])


@pytest.mark.parametrize("problem", ["the token server answers 400", ""])
async def test_without_proof_nothing_is_sent(router, problem):
    signer = Signer()
    sink, _ = send(router, signer)
    signer.waiting.pop()(problem)
    assert (sink.kind, router.upstream.calls) == (FailureKind.NO_PROOF, [])


async def test_who_waits_can_give_up_and_does_not_wait_for_ever(router):
    signer = Signer()
    _, call = send(router, signer)
    call.cancel()
    assert signer.waiting == []
    sink, _ = send(router, signer, total=0.0)
    await asyncio.wait_for(sink.failed.wait(), 30)
    assert (sink.kind, signer.waiting) == (FailureKind.TOTAL_TIMEOUT, [])


async def test_a_request_without_a_token_benches_the_credential_and_says_so(router):
    signer = Signer()
    level = router.deps.snapshot.route("default", "able").base.levels[0]
    level.targets = [signed_by(router, signer)]
    router.open()
    signer.waiting.pop()("no token")
    assert level.targets[0].seat.key.bench is Bench.NO_PROOF
    error = router.end().error
    assert error.kind == errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS
    assert error.message == "The provider did not accept this gateway's account."
    assert router.events[0].outcome == wire.OUTCOME_UPSTREAM_ERROR


@pytest.mark.parametrize(("status", "rejections"), [(401, 1), (429, 0), (500, 0)])
def test_proof_that_the_provider_refuses_is_not_used_again(router, status, rejections):
    signer = Signer(b"authorization: x\r\n")
    level = router.deps.snapshot.route("default", "able").base.levels[0]
    level.targets = [signed_by(router, signer)]
    router.open()
    router.upstream.calls[0].reply(status)
    assert signer.rejections == rejections
