"""Composition root of edge: the only file that builds adapters and wires them.

`Edge` holds the parts; `serve` starts them in the order in which they need each other and stops them in reverse.
"""

import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Final

from tollgate.config.v1 import config_pb2_grpc
from tollgate.events.v1 import usage_pb2 as events
from tollgate_edge.adapters.control_client import ControlClient
from tollgate_edge.adapters.dead_letter_client import DeadLetterClient
from tollgate_edge.adapters.files import JsonKeysFile, read_peppers
from tollgate_edge.adapters.grpc_clients import BillingClient, MediaClient, RouterClients
from tollgate_edge.adapters.ledger_client import LedgerClient
from tollgate_edge.adapters.mending_client import MendingClient
from tollgate_edge.adapters.payment_client import PaymentClient
from tollgate_edge.adapters.report_client import ReportClient
from tollgate_edge.adapters.sql.database import Database
from tollgate_edge.adapters.sql.limits import SqlLimitStore
from tollgate_edge.adapters.sql.stores import SqlKeyStore, SqlVersionStore
from tollgate_edge.adapters.sql.tenants import SqlTenantStore
from tollgate_edge.api.config_service import ConfigService
from tollgate_edge.api.context import HttpContext
from tollgate_edge.api.http import create_http_app
from tollgate_edge.api.links import LinkSigner
from tollgate_edge.api.reading import BodyReader
from tollgate_edge.api.server import PublicServer, listen
from tollgate_edge.domain.keys import IMPORTED
from tollgate_edge.errors import ConfigurationInvalid, PublicError, StoreUnavailable
from tollgate_edge.inference.access_log import new_access_log
from tollgate_edge.inference.admission import Admission
from tollgate_edge.inference.alone import Alone
from tollgate_edge.inference.door import door_class
from tollgate_edge.inference.gateway import InferenceGateway
from tollgate_edge.inference.marks import Marks
from tollgate_edge.inference.measured import gateway_samples
from tollgate_edge.inference.refused_log import RefusedLog
from tollgate_edge.inference.witness import Witness
from tollgate_edge.readiness import Readiness
from tollgate_edge.settings import EdgeSettings
from tollgate_edge.telemetry import FAMILIES, InferenceCounters
from tollgate_edge.use_cases.apply_configuration import ApplyConfiguration
from tollgate_edge.use_cases.authenticate import KeyAuthenticator
from tollgate_edge.use_cases.bootstrap import SEEDED, Bootstrap
from tollgate_edge.use_cases.create_key import CreateKey
from tollgate_edge.use_cases.create_tenant import CreateTenant
from tollgate_edge.use_cases.follow_controls import FollowControls
from tollgate_edge.use_cases.follow_version import VersionHolder
from tollgate_edge.use_cases.give_credit import GiveCredit
from tollgate_edge.use_cases.import_keys import ImportKeys
from tollgate_edge.use_cases.look_up_keys import KeyLookups
from tollgate_edge.use_cases.rebuild_wallet import RebuildWallet
from tollgate_edge.use_cases.recall_budgets import RecallBudgets
from tollgate_edge.use_cases.report_spools import ReportSpools
from tollgate_holds import LimitSet
from tollgate_holds.holds import Holds
from tollgate_kit.admin import AdminServer
from tollgate_kit.clock import SystemClock
from tollgate_kit.event_log import new_producer
from tollgate_kit.grpc_io import new_server
from tollgate_kit.ids import RandomIds
from tollgate_kit.lifecycle import Lifecycle, forever, stop_on_signals
from tollgate_kit.metrics import Sample, new_registry
from tollgate_kit.process_metrics import ProcessMeasures
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool, SpoolLocked
from tollgate_kit.tracing import new_tracing
from tollgate_rating import PICO
from tollgate_resources import load, load_catalogue
from tollgate_resources.problems import Problem

log = logging.getLogger(__name__)

USAGE_TOPIC: Final = "usage.recorded.v1"
_RETRY_SECONDS: Final = 0.5
_SPOOL_WAIT_SECONDS: Final = 30.0
# What may be spent past a budget grows with it.
_CONTROLS_SECONDS: Final = 1.0
_SPOOLS_SECONDS: Final = 30.0
_LAST_REFUSALS_SECONDS: Final = 2.0


class Edge:
    """The parts of a running edge. Needs a running event loop. Raises OSError or ValueError for unusable files."""

    def __init__(self, settings: EdgeSettings, environment: Mapping[str, str], spool: Spool) -> None:
        self.settings = settings
        self.lifecycle = Lifecycle()
        self.clock, self.ids, self.random = SystemClock(), RandomIds(), random.Random()  # noqa: S311 - no secrets.
        self.tracing = new_tracing("edge", slot=settings.slot, environment=environment)
        self.spool = spool
        self.peppers = read_peppers(settings.pepper_file, os.urandom)  # noqa: TID251 - handed out here.
        self.marks = Marks(self.peppers[0].value, settings.trusted_hops) if settings.caller_marks else None
        self._connect()
        self._build_control(environment)
        self.gateway = self._new_gateway()
        self.readiness = Readiness(
            settings,
            authenticator=self.authenticator,
            holds=self.holds,
            alone=self.alone,
            spool=self.spool,
            publisher=self.publisher,
        )
        self.follow_controls = FollowControls(self.controls, self.gateway.controls)
        self.report_spools = ReportSpools(self.controls, self.routers, self.readiness.own_spool)
        self.recall = RecallBudgets(self.billing, self.clock, self.gateway.admission.use_budget)
        self.app = create_http_app(self._http_context())
        self.process = ProcessMeasures(
            "edge", self.lifecycle, self.holder.digest, self.spool, settings.spool_max_bytes, self.publisher
        )
        registry = new_registry(FAMILIES, self.samples)
        self.admin = AdminServer(settings.admin_address, self.lifecycle, registry, self.holder.digest)
        said = self.readiness
        others = (said.not_seeded, said.no_redis, said.no_room, said.keys_cannot_be_checked)
        for blocker in (self.holder.missing, self.gateway.missing, *others):
            self.lifecycle.add_blocker(blocker)
        for note in (said.without_redis, said.keys_are_unchecked):
            self.lifecycle.add_note(note)

    def _connect(self) -> None:
        """Makes what reaches outside; nothing connects yet."""
        settings = self.settings
        self.database = Database(settings.database_url.get_secret_value())
        self.keys = SqlKeyStore(self.database)
        self.tenants = SqlTenantStore(self.database)
        self.limits = SqlLimitStore(self.database)
        self.versions = SqlVersionStore(self.database)
        address = settings.billing_address
        self.billing, self.ledger, self.reports = BillingClient(address), LedgerClient(address), ReportClient(address)
        self.dead_letters, self.mending = DeadLetterClient(address), MendingClient(address)
        self.payments, self.controls = PaymentClient(address), ControlClient(address)
        self.media = MediaClient(settings.media_address, RebuildWallet(self.billing))
        self.routers = RouterClients(settings.router_addresses)
        self.producer = new_producer(settings.event_log_url)
        # One of its own: what is best effort may not break what carries money.
        self.refused_producer = new_producer(settings.event_log_url)
        self.refused_log = RefusedLog(self.refused_producer, settings.request_log_rows_per_second)
        again = events.UsageRecorded(replay=True).SerializeToString()
        self.publisher = Publisher(self.spool, self.producer, USAGE_TOPIC, again=again)
        self.holds = Holds(settings.redis_url.get_secret_value())

    def _build_control(self, environment: Mapping[str, str]) -> None:
        """Makes the use cases of identity and configuration."""
        settings, pepper = self.settings, self.peppers[0]
        self.authenticator = KeyAuthenticator(
            KeyLookups(self.keys, pause_seconds=1 / settings.key_reads_per_second),
            self.peppers,
            self.clock,
            max_keys=settings.key_cache_size,
            max_unknown=settings.unknown_key_cache_size,
            unchecked_seconds=settings.key_unchecked_seconds,
        )
        self.holder = VersionHolder(self.versions)
        self.apply = ApplyConfiguration(
            self.versions,
            load_catalogue(),
            self.clock,
            environment,
            settings.config_path_list,
            settings.simulator_url,
        )
        self.create_key = CreateKey(self.keys, pepper, self.clock, self.ids, os.urandom)  # noqa: TID251 - handed out here.
        self.import_keys = ImportKeys(self.keys, self.tenants, self.peppers, self.clock, self.ids)
        self.bootstrap = Bootstrap(
            self.tenants,
            self.keys,
            self.create_key,
            self.billing,
            JsonKeysFile(settings.bootstrap_file),
            pepper,
            self.clock,
            self.ids,
            os.urandom,  # noqa: TID251 - handed out here.
            demo=settings.demo,
            credit_usd=settings.demo_credit_usd,
        )

    def _new_gateway(self) -> InferenceGateway:
        """Makes the inference path."""
        settings = self.settings
        self.counters = InferenceCounters()
        self.alone: Alone | None = None
        if settings.without_redis == "serve_postpaid":
            self.alone = Alone(settings.unverified_spend_cap * PICO, asyncio.get_running_loop().time)
        return InferenceGateway(
            settings=settings,
            clock=self.clock,
            authenticator=self.authenticator,
            version=self.holder,
            admission=Admission(
                self.holds,
                hold_ttl_seconds=settings.hold_ttl_seconds,
                slot_ttl_seconds=settings.slot_ttl_seconds,
                pause_seconds=settings.exchange_pause_ms / 1000,
                on_no_wallet=RebuildWallet(self.billing),
                alone=self.alone,
                on_new_budget=self._begin_budget,
            ),
            witness=Witness(self.spool, self.publisher, self.clock),
            tracing=self.tracing,
            random_source=self.random,
            counters=self.counters,
            access_log=new_access_log(
                settings.access_log, settings.access_log_sample_ratio, settings.access_log_lines_per_second
            ),
            refused_log=self.refused_log,
            marks=self.marks,
        )

    def _http_context(self) -> HttpContext:
        settings = self.settings
        return HttpContext(
            authenticator=self.authenticator,
            version=self.holder,
            keys=self.keys,
            tenants=self.tenants,
            limits=self.limits,
            create_key=self.create_key,
            import_keys=self.import_keys,
            create_tenant=CreateTenant(self.tenants, self.clock, self.ids),
            give_credit=GiveCredit(self.billing, self.ids),
            billing=self.billing,
            ledger=self.ledger,
            reports=self.reports,
            dead_letters=self.dead_letters,
            mending=self.mending,
            payments=self.payments,
            controls=self.controls,
            media=self.media,
            routers=self.routers,
            links=LinkSigner(self.peppers[0].value, self.clock, settings.link_seconds),
            evidence_links=LinkSigner(self.peppers[0].value, self.clock, settings.link_seconds, "evidence"),
            bodies=BodyReader(settings.max_body_bytes, settings.max_json_depth),
            clock=self.clock,
            tracing=self.tracing,
            random=self.random,
            missing=self.lifecycle.missing,
            notes=self.lifecycle.notes,
            state=lambda: self.lifecycle.state.value,
            new_request_id=self.gateway.new_request_id,
            refused=self.gateway.records.refused_by_api,
            spool=lambda: (self.spool.records, self.readiness.spool_problem()),
            public_url=settings.public_url,
            media_timeout_seconds=settings.media_timeout_seconds,
            trusted_hops=settings.trusted_hops,
            marks=self.marks.of if self.marks is not None else None,
            trace_sample_ratio=settings.trace_sample_ratio,
            room_for_span=self.gateway.records.room_for_span,
            placed=self.gateway.admission.placed_elsewhere,
            turned=lambda principal, model, usable: self.gateway.controls.decide(
                principal, model, self.clock.now_us(), usable
            ),
        )

    # What is measured.

    def samples(self) -> Iterator[Sample]:
        """Yields everything that is measured; called when metrics are scraped."""
        yield "tollgate_edge_cached_keys", (), self.authenticator.size
        yield "tollgate_edge_key_reads_total", (), self.authenticator.reads
        yield "tollgate_edge_keys_unchecked_seconds", (), self.authenticator.unchecked_seconds
        yield "tollgate_edge_redis_connected", (), int(self.holds.ready)
        spend = 0.0 if self.alone is None else self.alone.unverified_pico() / PICO
        yield "tollgate_edge_unverified_spend", (), spend
        yield from self.counters.samples()
        yield from gateway_samples(self.gateway)
        yield from self.process.samples()

    # Work in the background.

    async def _migrate(self) -> None:
        await self._until_done("migrating the database", self.database.migrate)

    async def _seed(self) -> None:
        await self._until_done("the first start", self.bootstrap)
        self.readiness.seeded = True

    async def _configure(self) -> None:
        await self._until_done("applying the configuration", self._apply_once)

    async def _apply_once(self) -> None:
        stored = await self.apply()
        log.info("configuration applied", extra={"fields": {"digest": stored.digest[:19], "sequence": stored.sequence}})
        await self.holder.refresh()

    async def apply_again(self) -> None:
        """Applies the files anew (SIGHUP); what does not validate leaves the version in force as it is."""
        try:
            await self._apply_once()
        except ConfigurationInvalid as invalid:
            for problem in invalid.problems:
                log.error("%s", problem)  # noqa: TRY400 - the problem says it all.
            log.warning("the configuration in force is kept", extra={"fields": {"problems": len(invalid.problems)}})
        except StoreUnavailable:
            log.warning("the database is away; send SIGHUP again")

    async def _poll(self) -> None:
        """Looks for changes that other processes made."""
        try:
            changes = await self.keys.changes_since(self.authenticator.sequence)
            if changes.key_hashes != () and not self.authenticator.imported:
                self.authenticator.imported = await self.tenants.is_done(IMPORTED)
            self.authenticator.apply(changes)
            if changes.versions or self.holder.current() is None:
                await self.holder.refresh()
            if not self.readiness.seeded and self.settings.slot != 0:
                self.readiness.seeded = await self.tenants.is_done(SEEDED)
        except StoreUnavailable as error:
            log.warning("the database is away", extra={"fields": {"error": str(error)}})
            await asyncio.sleep(_RETRY_SECONDS)

    async def _until_done(self, what: str, step: Callable[[], Awaitable[None]]) -> None:
        said = ""
        while not self.lifecycle.stopping.is_set():
            try:
                await step()
            except (StoreUnavailable, PublicError) as error:
                if said != str(error):
                    said = str(error)
                    log.info("%s waits", what, extra={"fields": {"for": said}})
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.lifecycle.stopping.wait(), _RETRY_SECONDS)
            else:
                return

    def _begin_budget(self, limits: LimitSet, place: int, started_us: int) -> None:
        self.recall.begin(limits, place, started_us)

    # Life.

    async def serve(self) -> None:
        """Runs until told to stop, then drains."""
        with stop_on_signals(self.lifecycle, self.settings.supervisor_fd):
            async with contextlib.AsyncExitStack() as stack:
                server = await self._start(stack)
                await self.lifecycle.stopping.wait()
                self.gateway.closing = True
                await asyncio.sleep(self.settings.drain_notice_seconds)
                self.gateway.draining = True
                await asyncio.gather(server.drain(), self.gateway.drain_detached(self.settings.drain_seconds))

    async def _start(self, stack: contextlib.AsyncExitStack) -> PublicServer:
        """Starts the parts in order; the stack stops them in reverse."""
        stack.callback(self.tracing.shutdown)
        stack.callback(self.database.close)
        billing = (self.billing, self.ledger, self.reports, self.dead_letters, self.mending, self.payments)
        for client in (*billing, self.controls, self.media, self.routers):
            stack.push_async_callback(client.close)
        await self.admin.start()
        stack.push_async_callback(self.admin.stop)
        self.process.lag.start()
        stack.callback(self.process.lag.stop)
        stack.callback(self.lifecycle.stopped)
        settings = self.settings
        server = PublicServer(
            self.app,
            listen(settings.host, settings.port, settings.listen_fd),
            door_class(self.gateway),
            keep_alive_seconds=settings.keep_alive_seconds,
            drain_seconds=settings.drain_seconds,
            idle_seconds=settings.drain_idle_seconds,
        )
        await server.start()
        await self._migrate()

        await stack.enter_async_context(self._background())
        grpc_server = new_server(self.settings.grpc_address)
        config_pb2_grpc.add_ConfigServiceServicer_to_server(  # type: ignore[no-untyped-call]
            ConfigService(self.holder, self.versions, self.lifecycle.stopping), grpc_server
        )
        await grpc_server.start()
        stack.push_async_callback(grpc_server.stop, 1)

        await self.holds.start()
        stack.push_async_callback(self.holds.close)
        stack.push_async_callback(self.recall.stop)
        drained = asyncio.Event()
        self.gateway.start(drained)
        stack.push_async_callback(self.gateway.stop)
        stack.callback(drained.set)
        self.lifecycle.ready()
        # What was built so far lives as long as the process: the collector need not walk it again. A full collection
        # would hold the loop for 64 ms, 100,000 objects; so it takes less than 2 us.
        gc.collect()
        gc.freeze()
        log.info("serving", extra={"fields": {"slot": self.settings.slot, "grpc": self.settings.grpc_address}})
        return server

    @contextlib.asynccontextmanager
    async def _background(self) -> AsyncIterator[None]:
        """Runs the loops of this process until the block ends."""
        stopped = asyncio.Event()
        again = asyncio.Event()
        publishing = asyncio.create_task(self.publisher.run(stopped))
        tasks = {
            asyncio.create_task(forever(name, work, pause_seconds=pause, stopping=stopped))
            for name, work, pause in (
                ("polling for changes", self._poll, self.settings.sequence_poll_seconds),
                ("following budgets", self.follow_controls, _CONTROLS_SECONDS),
                ("reporting spools", self.report_spools, _SPOOLS_SECONDS),
                ("keeping refused requests", self.refused_log.flush, 1.0),
            )
        }
        if self.settings.slot == 0:
            tasks.add(asyncio.create_task(self._first_slot(again)))
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, again.set)
        else:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _ignore)
        try:
            yield
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
            self.spool.flush()
            stopped.set()
            for task in tasks:
                task.cancel()
            await asyncio.wait({publishing, *tasks}, timeout=5)
            publishing.cancel()
            await self._let_go_of_refused()
            await self.producer.close()
            self.spool.close()

    async def _let_go_of_refused(self) -> None:
        """Sends the last refusals, if the event log takes them soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_REFUSALS_SECONDS):
                await self.refused_log.flush()
        await self.refused_producer.close()

    async def _first_slot(self, again: asyncio.Event) -> None:
        """What one process does for all: the configuration, the first keys, and SIGHUP."""
        await self._configure()
        await self._seed()

        async def on_hangup() -> None:
            await again.wait()
            again.clear()
            await self.apply_again()

        await forever("applying the configuration", on_hangup, pause_seconds=0, stopping=self.lifecycle.stopping)


def _ignore() -> None:
    """SIGHUP is for slot 0; elsewhere it must not end the process."""


async def _open_spool(settings: EdgeSettings) -> Spool:
    """Returns this process's spool; one that is restarted waits for its predecessor to let go. Raises SpoolLocked."""
    waited = 0.0
    while True:
        try:
            return Spool.open(settings.spool_directory, max_bytes=settings.spool_max_bytes, fsync=settings.spool_fsync)
        except SpoolLocked:
            if waited >= _SPOOL_WAIT_SECONDS:
                raise
            await asyncio.sleep(_RETRY_SECONDS)
            waited += _RETRY_SECONDS


def check_configuration(settings: EdgeSettings) -> tuple[Problem, ...]:
    """Returns everything that is wrong with the declared files: nothing is to start then."""
    return load(settings.config_path_list, load_catalogue()).problems if settings.slot == 0 else ()


async def run(settings: EdgeSettings) -> int:
    """Builds edge and serves until told to stop. Returns the exit code."""
    problems = check_configuration(settings)
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if problems:
        return 2
    edge = Edge(settings, os.environ, await _open_spool(settings))
    await edge.serve()
    return 0
