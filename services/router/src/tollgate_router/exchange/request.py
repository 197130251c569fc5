"""One inference request at the router: targets in turn, the reply on its way, the record at the end.

Steps, each a callback: `begin` → `_start` (who may serve it) → `_attempt` (write it for the target, send), whose sink
it is: `upstream_…` (hand on, or gather and `_deliver`; `_retry` goes on) → `_end` (record, End), once.
"""

from functools import partial
from typing import TYPE_CHECKING, Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.translate import Filter, Sending, sending
from tollgate_router.domain.estimated import estimate, estimate_whole
from tollgate_router.domain.openai_chat import Members, ReplyUsage
from tollgate_router.domain.repeating import ONCE, refuses, unknown
from tollgate_router.domain.upstream_errors import NO_HINTS, UpstreamProblem, hints_of, problem_of_failure
from tollgate_router.domain.walk import Walk
from tollgate_router.errors import InvalidBody
from tollgate_router.exchange.asking import ask_of, is_late, known, read_request, serving, time_left_ms
from tollgate_router.exchange.dispatching import Call, dispatch, forget_proof
from tollgate_router.exchange.explaining import way_of
from tollgate_router.exchange.held import Held
from tollgate_router.exchange.long_body import NO_ROOM_FOR_BODY, LongBody, without_body
from tollgate_router.exchange.long_reply import WINDOW_BYTES, LongReply
from tollgate_router.exchange.outbox import MAX_END_BYTES
from tollgate_router.exchange.recorder import AttemptResult, Charge, Recorded, timings_fields, usage_fields

if TYPE_CHECKING:
    from tollgate.routing.v1.explanation_pb2 import Explanation
    from tollgate_router.domain.endpoints.form import Form
    from tollgate_router.domain.snapshot import Snapshot, Target
    from tollgate_router.exchange.session import Session
    from tollgate_router.upstream.client import UpstreamFailure

DROPPED: Final = b"x-tollgate-dropped"
# A Head without a content type is JSON.
_JSON: Final = ()
_EVENT_STREAM: Final = (wire.Header(name=b"content-type", value=b"text/event-stream; charset=utf-8"),)
# No other model than the caller's, and no reason for one.
_AS_ASKED: Final = ("", "")


class Request(Held):
    # Responses are stored: what a caller asks of the store is no mistake.
    remembers = False
    __slots__ = (
        "_arrived_us", "_attempt_us", "_body", "_call", "_ended", "_fallback", "_filter", "_first_byte_us",
        "_head", "_head_sent", "_hints", "_long", "_members", "_number", "_opened", "_paused",
        "_recorded", "_routing", "_sending", "_session", "_snapshot", "_status", "_target",
        "_ticket", "_unacked", "_walk", "_whole",
    )  # fmt: skip

    def __init__(self, session: "Session", opened: wire.Open) -> None:
        super().__init__(session.deps.memories)
        self._session = session
        self._opened = opened
        self._body: bytes | bytearray = opened.body
        self._long: LongBody | None = None
        self._snapshot: Snapshot | None = None
        self._members: Members | Form = {}
        self._walk: Walk | None = None
        self._fallback = _AS_ASKED
        self._routing: Explanation | None = None
        self._target: Target | None = None
        # Of the attempt that is under way; -1 when none is, so that each tells the health of its target once.
        self._ticket = -1
        self._call: Call | None = None
        self._filter: Filter | None = None
        # Of the attempt under way, and the type of its reply where that is not the usual one.
        self._sending: Sending | None = None
        self._head: tuple[wire.Header, ...] = ()
        self._recorded: list[Recorded] = []
        # The reply is here to its end, and leaves as the caller takes it.
        self._whole: LongReply | None = None
        self._status = 0
        self._number = 0
        self._head_sent = False
        self._ended = False
        self._paused = False
        self._unacked = 0
        self._first_byte_us = 0
        self._attempt_us = 0
        self._arrived_us = session.deps.clock.now_us()
        session.deps.open_requests += 1

    @property
    def stalled(self) -> bool:
        """The caller reads more slowly than the provider writes."""
        return self._paused

    @property
    def held_bytes(self) -> int:
        """Returns what this request keeps in memory of its body and its reply."""
        return self._opened.body_length + self._reply_size

    # From edge.

    def begin(self) -> None:
        """Open has arrived; the rest of a long body comes as frames of its own."""
        first, opened = self._body, self._opened
        if len(first) >= opened.body_length:
            self._start()
        elif self._hold_body(opened.body_length):
            self._long = LongBody(opened.body_length, first)
            self._opened = without_body(opened)
        else:
            self._refuse(errors.ERROR_KIND_UNAVAILABLE, NO_ROOM_FOR_BODY, 1000)

    def body(self, data: bytes) -> None:
        """Takes the next part of the body."""
        assert self._long is not None
        if self._long.add(data):
            self._body, self._long = self._long.whole, None
            self._start()
        else:
            self._session.outbox.credit(self._opened.id, len(data))

    def credit(self, size: int) -> None:
        """The caller took `size` bytes of the reply."""
        self._unacked -= size
        if self._whole is not None:
            self._session.guarded(self, self._send_more, self._whole, size)
        elif self._paused and self._unacked < WINDOW_BYTES // 2 and self._call is not None:
            self._paused = False
            self._call.resume()

    def cancel(self, reason: int = 0) -> None:
        """Edge waits no more, mostly since its caller left: stop the upstream call; what came until now is charged."""
        if self._ended:
            return
        self._stop_call()
        self._session.outbox.drop(self._opened.id)
        problem = UpstreamProblem(errors.ERROR_KIND_CANCELLED, "The request was cancelled.")
        usage = self._usage_so_far(left=reason == wire.CANCEL_REASON_CLIENT_GONE)
        self._end(wire.OUTCOME_CANCELLED, usage, problem)

    def broke(self) -> None:
        """A step of ours failed: the caller gets an error without detail."""
        if self._ended:
            return
        self._stop_call()
        self._blame(None, self._session.deps.clock.monotonic())
        self._walk = None  # The step may have been the explanation.
        problem = UpstreamProblem(errors.ERROR_KIND_INTERNAL, "")
        outcome = wire.OUTCOME_UPSTREAM_CUT if self._head_sent else wire.OUTCOME_REFUSED
        self._end(outcome, self._usage_so_far(), problem)

    def out_of_time(self) -> None:
        """The process stops: a reply that has begun ends here; what has not, edge asks elsewhere when we are gone."""
        if self._ended or not self._head_sent:
            return
        if self._whole is not None:
            self._send_more(self._whole, self._whole.left)
            return
        self._stop_call()
        problem = UpstreamProblem(errors.ERROR_KIND_UNAVAILABLE, "The gateway stopped before the answer was whole.")
        self._end(wire.OUTCOME_UPSTREAM_CUT, self._usage_so_far(), problem)

    # Towards a provider.

    def _start(self) -> None:
        deps, opened = self._session.deps, self._opened
        snapshot = self._snapshot = deps.snapshot
        if snapshot is None or not deps.recorder.spool.has_room():
            self._session.end_unrecorded(self)
            return
        candidates = serving(snapshot, opened)
        if isinstance(candidates, UpstreamProblem):
            self._refuse(candidates.kind, candidates.message)
            return
        try:
            self._members = read_request(opened, self._body)
        except InvalidBody:
            self._refuse(errors.ERROR_KIND_INVALID_REQUEST, "The request body must be a JSON object.")
            return
        ask = partial(ask_of, opened, self._members)
        say = partial(sending, opened, self._members, body=self._body, remembers=self.remembers)
        walk = self._walk = Walk(snapshot, opened.model, candidates, ask, deps.random, say)
        target = walk.first(deps.clock.monotonic(), opened.dialect, opened.body_length)
        if target is None:
            self._end(wire.OUTCOME_REFUSED, ReplyUsage({}, estimated=False), walk.refusal)
            return
        self._attempt(target)

    def _attempt(self, target: "Target") -> None:
        deps, opened, walk = self._session.deps, self._opened, self._walk
        assert walk is not None
        assert walk.sending is not None
        if walk.why:
            self._fallback = walk.model, walk.why
        self._target = target
        self._number += 1
        self._attempt_us = deps.clock.now_us()
        self._status, self._first_byte_us, self._hints = 0, 0, NO_HINTS
        self._forget_reply()
        asked = self._sending = walk.sending
        self._filter, self._head = asked.filter, ()
        deps.counters.attempts[target.channel] += 1
        told = ((b"x-request-id", opened.request_id.encode()), *asked.headers)
        self._ticket = target.seat.begin(deps.clock.monotonic(), first=self._number == 1)
        # The first attempt begins at once.
        left_ms = opened.timeout_ms if self._number == 1 else time_left_ms(opened, self._attempt_us - self._arrived_us)
        self._call = dispatch(deps, target, asked, told, self, deps.timeouts(left_ms))

    @property
    def once(self) -> bool:
        """A provider that may have done the work keeps it: no other is asked after it."""
        return self._opened.operation in ONCE

    def _retry(self, problem: UpstreamProblem, outcome: int, *, acted: bool = True) -> None:
        """Goes on to where the walk leads after this problem; else ends with it. `acted`: the work may be done."""
        deps, walk, target = self._session.deps, self._walk, self._target
        assert target is not None
        assert walk is not None
        deps.counters.failures[target.channel] += 1
        now, passed_us = deps.clock.monotonic(), deps.clock.now_us() - self._arrived_us
        self._blame(problem, now)
        if acted and self.once:
            problem = unknown(problem)
        elif self._number < deps.settings.max_attempts and not is_late(self._opened, passed_us):
            following = walk.after(problem, target, now)
            if following is not None:
                self._record(outcome, ReplyUsage({}, estimated=False), problem, final=False)
                self._attempt(following)
                return
        self._end(outcome, ReplyUsage({}, estimated=False), problem)

    def _blame(self, problem: UpstreamProblem | None, now: float) -> None:
        """Tells the health of the target what came of the attempt, once; None: it was given up by our side."""
        target, ticket, self._ticket = self._target, self._ticket, -1
        if target is None or ticket < 0:
            return
        if problem is None:
            target.seat.abandoned(ticket, now)
        else:
            target.seat.failed(ticket, now, problem)
            forget_proof(target, problem)

    # From the provider.

    def upstream_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The provider's status line and headers have come."""
        self._status = status
        if status != 200:
            self._hints = hints_of(headers, self._session.deps.clock.now_us())
        elif self._sending is not None and self._sending.typed is not None:
            found = next((value for name, value in headers if name == b"content-type"), b"")
            if own := self._sending.typed(found):
                self._head = (wire.Header(name=b"content-type", value=own),)

    def upstream_data(self, data: bytes) -> None:
        """Reply bytes have come. Streams go on at once; a whole reply is checked before a byte of it leaves."""
        if not self._first_byte_us:
            self._first_byte_us = self._session.deps.clock.now_us() - self._arrived_us
        found, problem = self._filter, None
        if found is None or self._status != 200:
            problem = self._gather(data, self._status)
        else:
            ready = found.feed(data)
            if ready:
                self._send(ready)
            asked = self._sending
            assert asked is not None
            if not ready or self._reply_size or asked.kept is not None:
                problem = self._hold_back(found, asked, 0 if ready else len(data))
        if problem is not None:
            self._too_much(problem)

    def _too_much(self, problem: UpstreamProblem) -> None:
        self._stop_call()
        if self._head_sent and self._filter is not None:
            self._end(wire.OUTCOME_UPSTREAM_CUT, self._stream_usage(self._filter), problem)
        else:
            self._retry(problem, wire.OUTCOME_UPSTREAM_ERROR)

    def _send(self, data: bytes) -> None:
        outbox, frame_id = self._session.outbox, self._opened.id
        if not self._head_sent:
            self._send_head(self._head or _EVENT_STREAM)
        outbox.data(frame_id, data)
        self._unacked += len(data)
        if self._unacked > WINDOW_BYTES and not self._paused and self._call is not None:
            self._paused = True
            self._session.deps.counters.stalls += 1
            self._call.pause()

    def _send_head(self, headers: tuple[wire.Header, ...]) -> None:
        self._explain()
        self._head_sent = True
        if self._sending is not None and (dropped := self._sending.dropped):
            headers = (*headers, wire.Header(name=DROPPED, value=", ".join(dropped).encode()))
        if self._target is not None and self._target.seat.until:
            self._ticket = self._target.seat.answered(self._ticket)
        self._session.outbox.head(id=self._opened.id, status=200, headers=headers, attempt=self._number)

    def upstream_end(self) -> None:
        """The provider's reply is complete by its framing."""
        # The connection serves another call by now: an error of ours must end this request, and nothing else will.
        self._session.guarded(self, self._end_reply)

    def _end_reply(self) -> None:
        self._call = None
        if self._ended:
            return
        if self._status != 200:
            assert self._target is not None
            problem = self._target.quirks.errors.of_reply(self._status, b"".join(self._reply), self._hints)
            self._retry(problem, wire.OUTCOME_UPSTREAM_ERROR, acted=not refuses(self._status))
        elif self._filter is not None:
            self._end_stream(self._filter)
        else:
            # One part is not copied.
            body, self._reply = b"".join(self._reply), []
            self._end_whole(body)

    def _end_stream(self, found: Filter) -> None:
        rest = found.finish()
        problem = known(self._target, found.problem)
        if problem is not None and not self._head_sent:
            self._retry(problem, wire.OUTCOME_UPSTREAM_ERROR)
            return
        if rest:
            self._send(rest)
        if found.complete:
            self._end(wire.OUTCOME_OK, self._stream_usage(found), None)
        else:
            cut = problem or UpstreamProblem(errors.ERROR_KIND_UPSTREAM_CUT, "The provider's answer broke off.")
            if not self._head_sent:
                self._retry(cut, wire.OUTCOME_UPSTREAM_ERROR)
            else:
                self._end(wire.OUTCOME_UPSTREAM_CUT, self._stream_usage(found), cut)

    def _end_whole(self, body: bytes) -> None:
        assert self._sending is not None
        found = known(self._target, self._sending.read(body))
        if isinstance(found, UpstreamProblem):
            self._retry(found, wire.OUTCOME_UPSTREAM_ERROR)
            return
        said, body = found
        self._deliver(said or estimate_whole(self._opened, self._members, len(body), self._target), body)

    def _deliver(self, usage: ReplyUsage, body: bytes) -> None:
        assert self._sending is not None
        if len(body) > MAX_END_BYTES or self._sending.dropped or self._head:
            self._send_head(self._head or _JSON)
            deps = self._session.deps
            whole = self._whole = LongReply(self._session.outbox, self._opened.id, body, usage, deps.counters)
            self._forget_reply()
            self._reply_size = len(body)
            # The provider is done, however long its caller takes.
            self._judge(wire.OUTCOME_OK, None)
            self._send_more(whole, whole.begin(deps.settings.max_waiting_reply_bytes))
            self._paused = whole.left > 0
        else:
            self._end(wire.OUTCOME_OK, usage, None, body)

    def _send_more(self, whole: LongReply, room: int) -> None:
        # The event is written before the last bytes leave.
        if not self._ended and whole.send(room):
            self._end(wire.OUTCOME_OK, whole.usage, None)

    def upstream_failed(self, failure: "UpstreamFailure") -> None:
        """The call ended without a whole reply."""
        self._session.guarded(self, self._end_broken, failure)

    def _end_broken(self, failure: "UpstreamFailure") -> None:
        self._call = None
        if self._ended:
            return
        problem = problem_of_failure(failure)
        if self._head_sent and self._filter is not None:
            if rest := self._filter.finish():
                self._send(rest)
            # What the provider said before it went tells more than that it went.
            cut = known(self._target, self._filter.problem)
            usage = self._stream_usage(self._filter)
            # How the connection ended after the answer's last word is none of the caller's concern.
            whole = self._filter.done and cut is None
            self._end(wire.OUTCOME_OK if whole else wire.OUTCOME_UPSTREAM_CUT, usage, None if whole else cut or problem)
        else:
            timed_out = problem.kind == errors.ERROR_KIND_UPSTREAM_TIMEOUT
            outcome = wire.OUTCOME_TIMEOUT if timed_out else wire.OUTCOME_UPSTREAM_ERROR
            self._retry(problem, outcome, acted=failure.sent)

    # Usage.

    def _stream_usage(self, found: Filter) -> ReplyUsage:
        return found.usage or estimate(self._opened, self._members, found.frames, self._target)

    def _usage_so_far(self, *, left: bool = False) -> ReplyUsage:
        """What came until now: nothing is charged while the provider has not answered, or with blanks only.

        A whole reply that is not whole yet costs only a caller who `left`: others were told an error in its place.
        """
        if self._whole is not None:
            return self._whole.usage
        if self._filter is not None and self._filter.frames:
            return self._stream_usage(self._filter)
        if left and self._filter is None and self._status == 200 and any(part.strip() for part in self._reply):
            assert self._sending is not None
            return self._sending.begun or estimate_whole(self._opened, self._members, self._reply_size, self._target)
        return ReplyUsage({}, estimated=False)

    # The end.

    def _explain(self) -> "Explanation | None":
        """Returns why it went where it went; made once, when it goes nowhere else: its reply begins, or it ends."""
        if self._routing is None and self._walk is not None:
            self._routing = way_of(self._walk, self._target, self._number, self._opened, self._session.deps.clock)
        return self._routing

    def _judge(self, outcome: int, problem: UpstreamProblem | None) -> None:
        """Tells the health of the target how the last attempt ended, once."""
        target, ticket = self._target, self._ticket
        if target is None or ticket < 0:
            return
        now = self._session.deps.clock.monotonic()
        if outcome == wire.OUTCOME_OK or (outcome == wire.OUTCOME_CANCELLED and self._head_sent):
            self._ticket = -1
            target.seat.succeeded(ticket, now, max(0, self._first_byte_us - self._attempt_us + self._arrived_us) / 1e6)
        else:
            self._blame(problem if outcome == wire.OUTCOME_UPSTREAM_CUT else None, now)

    def _stop_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _refuse(self, kind: int, message: str, retry_after_ms: int = 0, param: str = "") -> None:
        problem = UpstreamProblem(kind, message, param, retry_after_ms=retry_after_ms)
        self._end(wire.OUTCOME_REFUSED, ReplyUsage({}, estimated=False), problem)

    def _record(
        self, outcome: int, usage: ReplyUsage, problem: UpstreamProblem | None, *, final: bool
    ) -> tuple[AttemptResult, Charge]:
        deps, arrived = self._session.deps, self._arrived_us
        now = deps.clock.now_us()
        answering = self._target if final and (outcome == wire.OUTCOME_OK or usage.units) else None
        usage = deps.recorder.used(self._opened, self._snapshot, self._fallback[0], usage, answering)
        total = now - arrived
        failed, other = outcome != wire.OUTCOME_OK, bool(self._fallback[1])
        kept = not final or deps.recorder.keep_trace(self._opened, self._number, total, failed=failed, fell_back=other)
        result = AttemptResult(
            target=self._target,
            number=max(1, self._number),
            final=final,
            outcome=outcome,
            upstream_status=self._status,
            error_kind=problem.kind if problem is not None else 0,
            units=usage.units,
            usage=usage_fields(usage.units, usage.service),
            estimated=usage.estimated,
            ended_us=now,
            timings=timings_fields(self._attempt_us - arrived, self._first_byte_us, total),
            trace_kept=kept,
            fallback_model=self._fallback[0],
            fallback_reason=self._fallback[1],
            routing=self._explain() if final else None,
        )
        recorded, charge = deps.recorder.record(self._opened, self._snapshot, result)
        self._recorded.append(recorded)
        if self._target is not None and (quota := self._target.seat.channel.quota) is not None:
            quota.spend(deps.clock.monotonic(), usage.units)
        return result, charge

    def _end(self, outcome: int, usage: ReplyUsage, problem: UpstreamProblem | None, data: bytes = b"") -> None:
        """Ends the request; `data` are the reply's last bytes."""
        if self._ended:
            return
        deps, frame_id = self._session.deps, self._opened.id
        self._judge(outcome, problem)
        # Where this fails, `broke` tries once more; it has not ended before.
        result, charge = self._record(outcome, usage, problem, final=True)
        self._session.outbox.end(
            len(data),
            problem,
            id=frame_id,
            outcome=outcome,
            usage=result.usage,
            charge_pico=charge.charge_pico,
            attempts=self._number,
            channel=self._target.channel if self._target is not None else "",
            trace_kept=result.trace_kept,
            timings=result.timings,
            data=data,
        )
        deps.counters.ends[outcome] += 1
        if self._fallback[1]:
            deps.counters.fallbacks[self._fallback[1]] += 1
        self._session.ended(frame_id, self.forget())

    def forget(self) -> list[Recorded]:
        """Nothing is asked of body and reply any more: this object stays until edge's Ack. Returns its events."""
        self._ended = True
        self._walk, self._members, self._body = None, {}, b""
        self._forget_all()
        if self._whole is not None:
            self._whole.close()
            self._whole = None
        return self._recorded
