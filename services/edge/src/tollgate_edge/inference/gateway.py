"""What all inference exchanges of a process share: limits, money, routers, counters, and the once-a-second sweep."""

import asyncio
import random
import re
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import msgspec

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.domain.access import client_address
from tollgate_edge.domain.principal import Principal, tenant_message
from tollgate_edge.errors import ERRORS_PATH, PublicError, public_error
from tollgate_edge.inference.access_log import AccessLog
from tollgate_edge.inference.admission import Admission
from tollgate_edge.inference.controls import Controls
from tollgate_edge.inference.fields import Asked
from tollgate_edge.inference.guarding import Breakable, guarded
from tollgate_edge.inference.limits import Ticket, expected_tokens, tokens_of
from tollgate_edge.inference.link import RouterPool
from tollgate_edge.inference.marks import Marks
from tollgate_edge.inference.operations import OPERATIONS, misplaced
from tollgate_edge.inference.records import RequestRecords
from tollgate_edge.inference.refused_log import RefusedLog
from tollgate_edge.inference.searches import CHATTING, units_of
from tollgate_edge.inference.slow_readers import SlowReaders
from tollgate_edge.inference.witness import Witness
from tollgate_edge.inference.words import Words
from tollgate_edge.ports import Authenticator, CurrentVersion, Downgrade, EdgeModel, EdgeVersion, Refused
from tollgate_edge.settings import EdgeSettings
from tollgate_edge.telemetry import InferenceCounters
from tollgate_holds import LimitSet
from tollgate_kit.clock import Clock
from tollgate_kit.tracing import Tracing, parse_traceparent
from tollgate_rating import MAX_CHARGE_PICO, NoRate, Unpriced

if TYPE_CHECKING:
    from tollgate_edge.inference.door import Door
    from tollgate_edge.inference.exchange import InferenceExchange

_MAX_PARKED: Final = 10_000
_MAX_COMMON: Final = 100_000
_MAX_QUERY_FIELDS: Final = 50
_SWEEP_SECONDS: Final = 1.0
_DRAIN_POLL_SECONDS: Final = 0.05
# A router that is there says by itself that the time of a request is up.
_DEADLINE_GRACE_SECONDS: Final = 1.0
_HOST: Final = re.compile(rb"[\w.-]+(?::\d+)?|\[[0-9A-Fa-f:.]+\](?::\d+)?", re.ASCII)
_FALLBACK_OUTPUT_TOKENS: Final = 8192
# More than any answer has.
_MANY_TOKENS: Final = 2**62


class InferenceGateway:
    """One per process, made in the composition root; exchanges and doors hold it."""

    def __init__(
        self,
        *,
        settings: EdgeSettings,
        clock: Clock,
        authenticator: Authenticator,
        version: CurrentVersion,
        admission: Admission,
        witness: Witness,
        tracing: Tracing,
        random_source: random.Random,
        counters: InferenceCounters,
        access_log: AccessLog,
        refused_log: RefusedLog,
        marks: Marks | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.authenticator = authenticator
        self.admission = admission
        self.counters = counters
        self.pool = RouterPool(
            settings.router_addresses,
            pause_seconds=settings.exchange_pause_ms / 1000,
            on_ready=self._router_ready,
            counters=counters,
        )
        self.controls = Controls()
        self.marks = marks
        self.access_log = access_log
        self.refused_log = refused_log
        self.records = RequestRecords(
            counters, tracing, access_log, refused_log, clock, self.loop, settings.trace_slow_seconds
        )
        self._public_url = settings.public_url.rstrip("/")
        self.words = Words(max_body_bytes=settings.max_body_bytes, max_header_bytes=settings.max_header_bytes)
        # A process that stops: replies say that their connection closes, then no new request is taken.
        self.closing = False
        self.draining = False
        self.body_bytes = 0
        self.slow_readers = SlowReaders(settings.write_timeout_seconds, settings.max_reply_memory_bytes)
        self.open: set[InferenceExchange] = set()
        self.doors: set[Door] = set()
        self._version = version
        self._witness = witness
        # Since when each has waited, on the loop's clock: a second try is older than its wait.
        self._parked: dict[InferenceExchange, float] = {}
        # By key, model and kind of request; principals are told apart by identity.
        self._common: dict[tuple[object, ...], tuple[Principal, bytes]] = {}
        self._slow: set[asyncio.Task[None]] = set()
        # Ids of one process: a random prefix and a count, unique without a system call for each (0.4 µs).
        self._id_prefix = f"req_{random_source.getrandbits(64):016x}"
        self._id_count = 0
        # Trace ids are to be unique, not secret: 0.6 µs less than to ask the system for two.
        self._random = random_source

    # Life.

    def start(self, stopping: asyncio.Event) -> None:
        """Connects to the routers and begins to sweep."""
        self.pool.start(stopping)
        self._sweep_timer = self.loop.call_later(_SWEEP_SECONDS, self._tick)

    async def stop(self) -> None:
        """Ends the streams and timers, after requests have drained."""
        self._sweep_timer.cancel()
        # What was cut off still ends, and settles with it.
        await self.pool.stop()
        try:
            await self.admission.drain()
        finally:
            self.access_log.flush()

    def missing(self) -> str | None:
        """Says what keeps inference from being served; for /readyz."""
        return None if self.pool.connected else "no router is connected"

    def _tick(self) -> None:
        self._sweep_timer = self.loop.call_later(_SWEEP_SECONDS, self._tick)
        self.sweep(self.loop.time())

    def sweep(self, now: float) -> None:
        """Keeps silent streams alive and ends what takes too long, as seen at `now` of the loop's clock."""
        latest = now - self.settings.request_timeout_seconds - _DEADLINE_GRACE_SECONDS
        for exchange in tuple(self.open):
            if exchange.started < latest:
                guarded(exchange, exchange.run_out)
            else:
                guarded(exchange, exchange.keep_alive, now)
        for door in tuple(self.doors):
            guarded(door, door.check_deadline, now)
        self.slow_readers.check(self.doors, now)
        self.admission.expire(now)
        wait = self.settings.router_wait_seconds
        for exchange in [one for one, since in self._parked.items() if since + wait < now]:
            if self.unpark(exchange):
                guarded(exchange, exchange.give_up)
        # While it has no room no request comes that would try the disk again.
        self._witness.flush()

    # What is measured.

    @property
    def parked(self) -> int:
        """Requests that wait for a router to connect."""
        return len(self._parked)

    @property
    def key_checks(self) -> int:
        """Requests that wait for what the store says of their key."""
        return len(self._slow)

    # Requests.

    def new_request_id(self) -> str:
        """Returns a fresh id."""
        self._id_count += 1
        return f"{self._id_prefix}{self._id_count:08x}"

    def error_docs(self, host: bytes) -> str:
        """Returns the address of the page of errors, for a caller that calls us `host` where no address is set."""
        if self._public_url:
            return f"{self._public_url}{ERRORS_PATH}"
        return f"http://{host.decode()}{ERRORS_PATH}" if _HOST.fullmatch(host) else ""

    def new_trace(self, traceparent: bytes | None) -> tuple[str, str, str]:
        """Returns (trace id, parent span id or empty, our span id); a malformed traceparent is as good as none.

        The caller's flag is not followed: most libraries set it always, and what is kept is for the operator to say.
        """
        digits = f"{self._random.getrandbits(192):048x}"
        given = parse_traceparent(traceparent.decode("latin-1")) if traceparent is not None else None
        if given is None:
            return digits[:32], "", digits[32:]
        return given[0], given[1], digits[32:]

    @staticmethod
    def key_of_query(query: bytes) -> bytes | None:
        """Returns the key in `?key=`, the form that Gemini clients use; None also among too many fields."""
        try:
            found = parse_qs(query.decode("latin-1"), max_num_fields=_MAX_QUERY_FIELDS).get("key")
        except ValueError:
            return None
        return found[0].encode() if found else None

    def authenticate_slowly(self, asker: Breakable, presented: bytes, then: Callable[[object], None]) -> None:
        """Asks the store about a key that is not cached, and goes on with what it says."""

        async def ask() -> None:
            then(await self.authenticator.authenticate(presented))

        self.do_slowly(asker, ask)

    def do_slowly(self, asker: Breakable, step: Callable[[], Coroutine[None, None, None]]) -> None:
        """Takes a step of a request that has to wait, in a task of its own."""

        def done(task: asyncio.Task[None]) -> None:
            self._slow.discard(task)
            if not task.cancelled():
                guarded(asker, task.result)

        task = self.loop.create_task(step())
        self._slow.add(task)
        task.add_done_callback(done)

    @staticmethod
    def refusal(found: object) -> PublicError:
        """Returns what to say about a key that was refused."""
        assert isinstance(found, Refused)
        return public_error(found.kind, found.message)

    def check_access(self, exchange: "InferenceExchange", principal: Principal, peer: str) -> PublicError | None:
        """Returns why a key that has lists may not be used for this request from there, or None when it may."""
        access = principal.access
        if access is None:
            return None
        endpoint = OPERATIONS[exchange.operation].endpoint
        address = client_address(peer, exchange.forwarded.decode("latin-1"), self.settings.trusted_hops)
        problem = access.problem(endpoint, address)
        return None if problem is None else public_error(errors.ERROR_KIND_FORBIDDEN, problem[1], code=problem[0])

    def check_model(self, principal: Principal, model: str, operation: int) -> PublicError | None:
        """Returns why `principal` may not ask for `model`, or None when it may."""
        if principal.is_operator:
            return public_error(errors.ERROR_KIND_FORBIDDEN, self.words.no_calls)
        version = self._version.current()
        if version is None or not self._witness.has_room():
            # A request of which nothing could be written down would be lost money.
            return public_error(errors.ERROR_KIND_UNAVAILABLE, self.words.no_router, retry_after_ms=1000)
        found = version.model(principal.route_group, model)
        allowed = principal.models
        if found is None or (allowed is not None and model not in allowed):
            return public_error(
                errors.ERROR_KIND_MODEL_NOT_FOUND,
                f"The model '{model}' does not exist or this key may not use it. GET /v1/models lists what it may.",
                "model",
            )
        problem = misplaced(model, found.mode, operation)
        if problem is not None:
            return public_error(errors.ERROR_KIND_INVALID_REQUEST, problem, "model")
        return None

    def worst_case(self, exchange: "InferenceExchange", most_tokens: int = _MANY_TOKENS) -> int | PublicError:
        """Returns the pico-units to hold: no request can cost more, whichever model answers in the end.

        It stops at an answer of `most_tokens`, and at a usual number of searches where nobody limits them. What to say
        instead, when the model or what it may use has no price, its currency no rate to the organization's, or when it
        is more than one request may cost.
        """
        asked, principal, version = exchange.asked, exchange.principal, self._version.current()
        assert asked is not None
        assert principal is not None
        assert version is not None
        found = version.model(principal.route_group, asked.model)
        try:
            most = self._worst_case_of(exchange, version, found, asked.model, most_tokens)
            if most is not None and found is not None and found.fallbacks:
                for name in found.fallbacks:
                    other = version.model(principal.route_group, name)
                    most = max(most, self._worst_case_of(exchange, version, other, name, most_tokens) or 0)
        except NoRate as error:
            self.counters.unpriced += 1
            return self.words.no_rate(error)
        except Unpriced as error:
            self.counters.unpriced += 1
            return self.words.no_price(error.model, error.unit)
        if most is None:
            self.counters.unpriced += 1
            return self.words.no_price(asked.model)
        return most if most <= MAX_CHARGE_PICO else self.words.too_dear(asked.model, most)

    def _worst_case_of(
        self,
        exchange: "InferenceExchange",
        version: EdgeVersion,
        found: EdgeModel | None,
        model: str,
        most_tokens: int,
    ) -> int | None:
        asked, principal = exchange.asked, exchange.principal
        assert asked is not None
        assert principal is not None
        price = version.price_table.find(model, principal.price_group, exchange.started_us, principal.currency)
        if price is None:
            return None
        limit = asked.max_output_tokens
        if limit is None:
            limit = (found.max_output if found is not None else 0) or _FALLBACK_OUTPUT_TOKENS
        units = units_of(asked, found, price) if exchange.operation in CHATTING else asked.units
        # A token is at least one byte of the body.
        into, out = asked.input_bound(exchange.body_length), min(limit, most_tokens) * asked.choices
        if price.exchange is not None and (listed := price.unconverted.worst_case(into, out, units)) > MAX_CHARGE_PICO:
            # No usage event could say it, whatever the rate makes of it.
            return listed
        return price.worst_case(into, out, units)

    def hold_limited(
        self, exchange: "InferenceExchange", principal: Principal, limits: LimitSet, amount_pico: int
    ) -> None:
        """Asks for a hold of a request within its limits."""
        ticket = Ticket(limits, self._expected_tokens(exchange, principal) if limits.counts_tokens else 0)
        if exchange.ticket is not None:
            # Where its first try was counted.
            ticket.verdict = exchange.ticket.verdict
        self.admission.hold_limited(principal.organization_id, exchange, amount_pico, ticket, prepaid=principal.prepaid)

    def _expected_tokens(self, exchange: "InferenceExchange", principal: Principal) -> int:
        """Returns how many tokens a request is counted as until its end says how many they were."""
        asked, version = exchange.asked, self._version.current()
        assert asked is not None
        model = version.model(principal.route_group, asked.model) if version is not None else None
        return expected_tokens(asked.input_bound(exchange.body_length), asked, model)

    def settle(self, exchange: "InferenceExchange", principal: Principal, end: wire.End) -> None:
        """Settles what a request holds with its cost and the tokens that it used."""
        self._end_detached(exchange)
        ticket = exchange.ticket
        if ticket is not None:
            tokens = tokens_of(end.usage) if ticket.limits.counts_tokens else 0
            self.admission.settle(principal.organization_id, exchange.hold_id, end.charge_pico, ticket, tokens)
        elif principal.prepaid:
            self.admission.settle(principal.organization_id, exchange.hold_id, end.charge_pico)

    def forget(self, exchange: "InferenceExchange") -> None:
        """Gives back what a request holds that never reached a router."""
        if held := _holder(exchange):
            self.admission.forget(held, exchange.hold_id, exchange.ticket)

    def renew(self, exchange: "InferenceExchange", now: float) -> None:
        """Keeps what a long request holds."""
        settings = self.settings
        life = settings.hold_ttl_seconds if exchange.ticket is None else settings.slot_ttl_seconds
        if now - exchange.hold_renewed > life / 3 and (held := _holder(exchange)):
            exchange.hold_renewed = now
            self.admission.renew(held, exchange.hold_id, exchange.ticket)

    def end_without_cost(self, exchange: "InferenceExchange") -> None:
        """No End will come: the slots go back, and what is charged is for billing to book."""
        self._end_detached(exchange)
        if exchange.ticket is not None:
            self.admission.end(exchange.ticket.limits.organization, exchange.hold_id, exchange.ticket)

    def end_unrecorded(self, exchange: "InferenceExchange", delivered: int) -> None:
        """The router wrote no event: what was delivered is for the witness to tell, else nothing will be booked."""
        if exchange.detached:
            # The answer is kept for who was let go, and may be whole: as large as what they were told, for all we know.
            delivered += exchange.bytes_out
        if delivered:
            self._witness.record(exchange, delivered, self._version.current())
            self.end_without_cost(exchange)
        else:
            self._end_detached(exchange)
            self.forget(exchange)

    def _end_detached(self, exchange: "InferenceExchange") -> None:
        if exchange.detached:
            self.closed(exchange)

    async def drain_detached(self, seconds: float) -> None:
        """Waits for what goes on without a caller, or will; after `seconds` routers are asked to end it."""
        until = self.loop.time() + seconds
        while self.open and self.loop.time() < until:  # noqa: ASYNC110 - a drain ends once in a process.
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        for exchange in tuple(self.open):
            if exchange.detached:
                exchange.cut_off()

    def keep_to_budgets(self, exchange: "InferenceExchange", principal: Principal, asked: Asked) -> PublicError | None:
        """Turns to the model that a budget names, where this request may ask for it; returns why a budget refuses."""
        found = self.controls.decide(
            principal,
            asked.model,
            self.clock.now_us(),
            lambda model: self.check_model(principal, model, exchange.operation) is None,
        )
        if not isinstance(found, Downgrade):
            return found
        exchange.requested_model, exchange.told = asked.model, f"x-tollgate-downgraded: {found.told}\r\n".encode()
        exchange.asked = msgspec.structs.replace(asked, model=found.model)
        return None

    def cheaper_than(self, exchange: "InferenceExchange", seen: Collection[str]) -> str | None:
        """Returns the next model that the route names for a balance that is too low, or None."""
        principal, version = exchange.principal, self._version.current()
        if principal is None or version is None or exchange.asked is None:
            return None
        named = exchange.requested_model or exchange.asked.model
        found = version.model(principal.route_group, named)
        return None if found is None else next((name for name in found.cheaper if name not in seen), None)

    @property
    def passed_headers(self) -> tuple[bytes, ...]:
        """Lower-case names of the headers that routers look at."""
        version = self._version.current()
        return version.headers if version is not None else ()

    def common_of(self, exchange: "InferenceExchange") -> bytes:
        """Returns the fields of an Open that it shares with all of the same key, model and kind, encoded.

        Kept, since to make the tenant alone takes 1.4 µs.
        """
        principal, asked, face = exchange.principal, exchange.asked, exchange.face
        assert principal is not None
        assert asked is not None
        name = (principal.api_key_id, asked.model, exchange.operation, face, asked.stream, asked.usage_wanted)
        known = self._common.get(name)
        if known is not None and known[0] is principal:
            return known[1]
        if len(self._common) >= _MAX_COMMON:
            self._common.clear()
        common = wire.Open(
            dialect=face.dialect,  # type: ignore[arg-type]  # A number for an enum.
            operation=exchange.operation,  # type: ignore[arg-type]  # A number for an enum.
            model=asked.model,
            stream=asked.stream,
            usage_wanted=asked.usage_wanted,
            tenant=tenant_message(principal),
            as_array=face.as_array,
            api_version=face.api_version,
        ).SerializeToString()
        self._common[name] = principal, common
        return common

    def timeout_ms_left(self, started: float) -> int:
        """Returns how long a request may still take."""
        return max(1, round((started + self.settings.request_timeout_seconds - self.loop.time()) * 1000))

    def park(self, exchange: "InferenceExchange") -> None:
        """Keeps a request until a router is connected, for a while."""
        if len(self._parked) >= _MAX_PARKED:
            exchange.give_up()
        else:
            self._parked[exchange] = self.loop.time()

    def unpark(self, exchange: "InferenceExchange") -> bool:
        """Takes a parked request out; False when it is not parked."""
        return self._parked.pop(exchange, None) is not None

    def _router_ready(self) -> None:
        parked, self._parked = self._parked, {}
        for exchange, since in parked.items():
            stream = self.pool.pick()
            if stream is None:
                self._parked[exchange] = since
            elif not exchange.closed:
                guarded(exchange, exchange.open_on, stream)

    def closed(self, exchange: "InferenceExchange") -> None:
        """A reply has ended, or what went on without a caller: its memory is given back, however late its End is."""
        self.body_bytes -= exchange.body_size
        exchange.body_size, exchange.body = 0, b""
        self.open.discard(exchange)

    # Records.

    def record_witness(self, exchange: "InferenceExchange", delivered: int) -> None:
        """Writes down what was delivered of a try whose router vanished."""
        version = self._version.current()
        self.counters.routers_lost += 1
        try:
            self._witness.record(exchange, delivered, version)
        except BaseException:
            if exchange.closed:
                # Its caller left, so nobody is told of the error, which would write down how it ended.
                self.records.ended_here(exchange)
            raise


def _holder(exchange: "InferenceExchange") -> str:
    """Returns the organization that holds something in Redis for this request; empty for none."""
    principal = exchange.principal
    return principal.organization_id if principal is not None and (principal.prepaid or exchange.ticket) else ""
