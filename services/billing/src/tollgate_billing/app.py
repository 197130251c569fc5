"""Composition root of billing: the only file that builds adapters and wires them, beside `assembly`."""

import asyncio
import contextlib
import functools
import logging
import os
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

from tollgate.billing.v1 import (
    billing_pb2_grpc,
    controls_pb2_grpc,
    dead_letters_pb2_grpc,
    ledger_pb2_grpc,
    mending_pb2_grpc,
    payments_pb2_grpc,
    reports_pb2_grpc,
)
from tollgate_billing.adapters.boottime import boottime
from tollgate_billing.adapters.dead_letters import DeadLetterTopic
from tollgate_billing.adapters.failpoints import Failpoint
from tollgate_billing.adapters.guarded_http import GuardedHttp
from tollgate_billing.adapters.kept_events import KeptEvents
from tollgate_billing.adapters.ledger_books import SqlLedgerBooks
from tollgate_billing.adapters.letters import ClickHouseLetters, UsageProducer
from tollgate_billing.adapters.notice_sender import NoticeSender
from tollgate_billing.adapters.price_archive import PriceArchive
from tollgate_billing.adapters.redis_wallets import RedisWallets
from tollgate_billing.adapters.request_log import ClickHouseRequestLog
from tollgate_billing.adapters.simulated_payments import SimulatedPayments
from tollgate_billing.adapters.sql_alerts import SqlAlerts
from tollgate_billing.adapters.sql_anomalies import SqlAnomalies
from tollgate_billing.adapters.sql_budgets import SqlBudgets
from tollgate_billing.adapters.sql_codes import SqlCodes
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.sql_notices import SqlDestinations, SqlOutbox
from tollgate_billing.adapters.sql_operations import SqlOperations
from tollgate_billing.adapters.sql_payments import SqlPayments
from tollgate_billing.adapters.sql_turns import SqlTurns
from tollgate_billing.adapters.usage_books import ClickHouseUsageBooks
from tollgate_billing.adapters.usage_copies import ClickHouseCopies
from tollgate_billing.adapters.usage_export import ClickHouseUsageExport
from tollgate_billing.adapters.usage_queries import ClickHouseUsageQueries
from tollgate_billing.adapters.usage_rebuilding import RebuildingUsageStore
from tollgate_billing.adapters.usage_rollups import ClickHouseRollups
from tollgate_billing.adapters.usage_spending import ClickHouseSpending
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.adapters.usage_troubles import ClickHouseTroubles
from tollgate_billing.adapters.usage_views import ClickHouseUsageViews
from tollgate_billing.api.billing_service import BillingService, LagSource
from tollgate_billing.api.control_service import ControlService
from tollgate_billing.api.dead_letter_service import DeadLetterService
from tollgate_billing.api.ledger_service import LedgerService
from tollgate_billing.api.mending_service import MendingService
from tollgate_billing.api.payment_service import PaymentService
from tollgate_billing.assembly import mail_server, reports, usage_sql, usage_store
from tollgate_billing.consumers.intake import BatchLimits
from tollgate_billing.consumers.request_refused import RequestRefusedConsumer
from tollgate_billing.consumers.usage_recorded import UsageRecordedConsumer
from tollgate_billing.errors import Unavailable
from tollgate_billing.settings import BillingSettings
from tollgate_billing.telemetry import FAMILIES, BillingCounters, samples
from tollgate_billing.use_cases.ask_usage import AskUsage
from tollgate_billing.use_cases.book_settled import BookSettled
from tollgate_billing.use_cases.compare_books import CompareBooks
from tollgate_billing.use_cases.compare_provider_costs import CompareProviderCosts
from tollgate_billing.use_cases.compare_rollups import CompareRollups
from tollgate_billing.use_cases.deliver_notices import DeliverNotices
from tollgate_billing.use_cases.drop_copies import DropCopies
from tollgate_billing.use_cases.keep_budgets import KeepBudgets
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_billing.use_cases.look_at_requests import LookAtRequests
from tollgate_billing.use_cases.move_money import MoveMoney
from tollgate_billing.use_cases.rebuild_usage import RebuildParts, RebuildUsage
from tollgate_billing.use_cases.record_batch import RecordBatch
from tollgate_billing.use_cases.refill_rollups import RefillRollups
from tollgate_billing.use_cases.replay_letters import ReplayLetters
from tollgate_billing.use_cases.top_up import TopUps
from tollgate_billing.use_cases.watch_alerts import Backlog, WatchAlerts
from tollgate_billing.use_cases.watch_anomalies import WatchAnomalies
from tollgate_billing.use_cases.watch_budgets import WatchBudgets
from tollgate_holds.holds import Holds
from tollgate_kit.admin import AdminServer
from tollgate_kit.clock import Clock, SystemClock
from tollgate_kit.config_client import ConfigClient
from tollgate_kit.event_log import EventLogUnavailable, OwnershipLost, new_consumer, new_producer
from tollgate_kit.grpc_io import new_server
from tollgate_kit.ids import RandomIds
from tollgate_kit.lifecycle import Lifecycle, forever, stop_on_signals
from tollgate_kit.metrics import Sample, new_registry
from tollgate_kit.process_metrics import LoopMeasures
from tollgate_kit.sql import Database, SqlUnavailable
from tollgate_kit.tracing import new_tracing
from tollgate_sealing.envelopes import Envelopes, KeyRing

log = logging.getLogger(__name__)

USAGE_TOPIC: Final = "usage.recorded.v1"
GROUP: Final = "billing"
REFUSED_TOPIC: Final = "request.refused.v1"
REFUSED_GROUP: Final = "billing-request-log"
_SAVE_SECONDS: Final = 1.0
_FIRST_RETRY_SECONDS: Final = 0.2
_LAST_RETRY_SECONDS: Final = 2.0
# Half a second of what may be spent past a budget.
_WATCH_SECONDS: Final = 0.5
_DELIVER_SECONDS: Final = 1.0
_ANOMALY_SECONDS: Final = 60.0


class Billing:
    """The parts of a running billing process."""

    def __init__(self, settings: BillingSettings, environment: Mapping[str, str], clock: Clock) -> None:
        self.settings = settings
        self.lifecycle = Lifecycle()
        self.counters = BillingCounters()
        self.waiting_for = "the ledger and the usage store are not migrated yet"
        booking = self.turns = SqlTurns(settings.database_url.get_secret_value())
        failpoint = Failpoint(settings.failpoint)
        self.tracing = new_tracing("billing", slot=settings.slot, environment=environment)
        self.database = Database(settings.database_url.get_secret_value(), migrations="tollgate_billing:migrations")
        self.clickhouse = usage_store(settings)
        self.holds = Holds(settings.redis_url.get_secret_value())
        self.producer = new_producer(settings.event_log_url)
        self.log_consumer = new_consumer(
            settings.event_log_url, GROUP, [USAGE_TOPIC], instance=f"billing-{settings.slot}"
        )
        self.refused_consumer = new_consumer(
            settings.event_log_url, REFUSED_GROUP, [REFUSED_TOPIC], instance=f"billing-request-log-{settings.slot}"
        )
        self.prices = PriceArchive(self.database, settings.config_addresses)
        self.config = ConfigClient(settings.config_addresses, settings.state_directory, self.apply)
        ledger, wallets = SqlLedger(self.database), RedisWallets(self.holds, settings.unbooked_hold_seconds)
        self._add_controls(ledger, wallets, clock, failpoint)
        self.wallets = KeepWallets(ledger, wallets, self.counters, booking, self.alerts.swept, self.estimate)
        recording = functools.partial(
            RecordBatch,
            ledger=ledger,
            wallets=wallets,
            prices=self.prices,
            letters=DeadLetterTopic(self.producer),
            clock=clock,
            boottime=boottime,
            counters=self.counters,
            reached=failpoint.reached,
            keep=self.wallets,
            booked=self.budgets.booked,
            poison_limit=settings.poison_limit,
        )
        self.record = recording(store=ClickHouseUsageStore(self.clickhouse))
        ids, self.clock = RandomIds(), clock
        self.consumer = UsageRecordedConsumer(
            consumer=self.log_consumer,
            record=self.record,
            ledger=ledger,
            limits=BatchLimits(settings.batch_max_events, settings.batch_max_bytes, settings.batch_age_seconds),
            clock=clock,
            booking=booking,
            tracing=self.tracing,
            random_source=random.Random(),  # noqa: S311 - ids of spans are no secrets.
            counters=self.counters,
            reached=failpoint.reached,
            new_owner=lambda: ids.new("owner"),
            forgotten=self.alerts.forgotten,
        )
        self.request_log = ClickHouseRequestLog(self.clickhouse)
        self.refused = RequestRefusedConsumer(
            consumer=self.refused_consumer,
            request_log=self.request_log,
            letters=DeadLetterTopic(self.producer),
            counters=self.counters,
            days=settings.request_log_days,
        )
        self._add_questions(ledger, wallets)
        self._add_mending(ledger, recording, failpoint)
        self._add_money(wallets, ids)
        self.measures = LoopMeasures("billing", self.lifecycle, lambda: self.config.digest)
        registry = new_registry(FAMILIES, self.measured)
        self.admin = AdminServer(settings.admin_address, self.lifecycle, registry, lambda: self.config.digest)
        self.lifecycle.add_blocker(lambda: self.waiting_for or None)
        self.lifecycle.add_blocker(lambda: self.holds.away or None)
        self.lifecycle.add_blocker(lambda: self.consumer.problem or None)

    def _add_controls(self, ledger: SqlLedger, wallets: RedisWallets, clock: Clock, failpoint: Failpoint) -> None:
        """Makes budgets, anomalies, alerts, what tells people of them, and what books holds that nobody booked."""
        ids, spending = RandomIds(), ClickHouseSpending(self.clickhouse)
        budgets = SqlBudgets(self.database, ids)
        self.budgets = WatchBudgets(budgets, spending, ledger, clock)
        self.anomalies = WatchAnomalies(SqlAnomalies(self.database, ids), spending, clock)
        self.letters = ReplayLetters(ClickHouseLetters(self.clickhouse), ledger, UsageProducer(self.producer), clock)
        self.alerts = WatchAlerts(
            SqlAlerts(self.database, ids),
            ClickHouseTroubles(self.clickhouse),
            self.letters,
            self._backlog,
            clock,
            self.counters,
            slot=self.settings.slot,
            late_seconds=self.settings.alert_lag_seconds,
            runbooks=self.settings.runbook_url,
        )
        self.notify_http = GuardedHttp(
            self.settings.notify_port_list, private_network=self.settings.notify_private_network
        )
        keys = Envelopes(KeyRing(self.settings.sealing_keys()))
        self.destinations = SqlDestinations(self.database, keys)
        self.notices = DeliverNotices(
            outbox=SqlOutbox(self.database, keys),
            destinations=self.destinations,
            sender=NoticeSender(self.notify_http, mail_server(self.settings), clock),
            clock=clock,
            counters=self.counters,
            new_id=ids.new,
            reached=failpoint.reached,
        )
        self.estimate = BookSettled(
            ledger,
            wallets,
            UsageProducer(self.producer),
            lambda: self._backlog().behind,
            clock,
            self.counters,
            after_seconds=self.settings.unbooked_hold_seconds,
        )
        keep = KeepBudgets(budgets, spending, self.budgets, ledger, clock, lambda: ids.new("bud"))
        self.control_service = ControlService(keep, budgets, self.notices, self.anomalies, self.alerts, clock)

    def _backlog(self) -> Backlog:
        consumer = self.consumer
        stopped = tuple(consumer.stopped_partitions)
        return Backlog(consumer.lag_events, consumer.lag_ms, consumer.problem, stopped)

    def _add_questions(self, ledger: SqlLedger, wallets: RedisWallets) -> None:
        """Makes what answers questions about usage and single requests."""
        lag = LagSource(
            lambda: self.consumer.lag_events,
            lambda: self.consumer.lag_ms,
            lambda: self.consumer.open_exceptions,
            lambda: self.consumer.problem,
        )
        queries, usage_books = ClickHouseUsageQueries(self.clickhouse), ClickHouseUsageBooks(self.clickhouse)
        self.dead_letters = DeadLetterService(self.letters)
        booked = SqlLedgerBooks(self.database)
        self.rollups = CompareRollups(ClickHouseRollups(self.clickhouse))
        self.books = CompareBooks(
            usage_books,
            booked,
            ledger,
            wallets,
            self.wallets,
            self.counters,
            self.clock,
            self.letters,
            self.rollups,
            overdue_seconds=self.settings.unbooked_hold_seconds,
        )
        requests = LookAtRequests(queries, self.request_log, ledger, wallets, self.prices)
        self.sql = usage_sql(self.settings)
        ask = AskUsage(
            ClickHouseUsageViews(self.clickhouse),
            self.sql,
            ClickHouseUsageExport(self.clickhouse),
            self.clock,
            self.settings.clickhouse_cluster,
        )
        self.service = BillingService(
            self.wallets, queries, requests, ask, self.books, CompareProviderCosts(usage_books), lag, self.clock
        )

    def _add_mending(self, ledger: SqlLedger, recording: Callable[..., RecordBatch], failpoint: Failpoint) -> None:
        """Makes what writes usage rows and their sums again."""
        store, between = RebuildingUsageStore(self.clickhouse), self.consumer.between_batches
        rollups = ClickHouseRollups(self.clickhouse)
        refill = RefillRollups(rollups, between)
        self.kept_events = KeptEvents(self.settings.event_log_url, USAGE_TOPIC, lambda: RandomIds().new("read"))
        parts = RebuildParts(
            events=self.kept_events,
            store=store,
            record=recording(store=store),
            books=ClickHouseUsageBooks(self.clickhouse),
            ledger=ledger,
            booked=SqlLedgerBooks(self.database),
            compare=self.books,
            rollups=self.rollups,
            refill=refill,
            drop_copies=DropCopies(ClickHouseCopies(self.clickhouse), rollups, between, failpoint.reached),
            between_batches=between,
            clock=self.clock,
            reached=failpoint.reached,
        )
        self.mending = MendingService(refill, RebuildUsage(parts))

    def _add_money(self, wallets: RedisWallets, ids: RandomIds) -> None:
        """Makes what moves and reports money without a request."""
        settings = self.settings
        self.money = MoveMoney(
            operations=SqlOperations(self.database),
            codes=SqlCodes(self.database),
            wallets=wallets,
            keep=self.wallets,
            ids=ids,
            random_bytes=os.urandom,  # noqa: TID251 - handed out here.
        )
        self.ledger_service = LedgerService(self.money, self.wallets, self.clock)
        self.payments = PaymentService(
            TopUps(
                provider=SimulatedPayments(settings.payment_checkout_url) if settings.payment_provider else None,
                secret=settings.payment_secret(),
                payments=SqlPayments(self.database),
                keep=self.wallets,
                clock=self.clock,
                ids=ids,
            )
        )
        self.reports = reports(self.clickhouse, self.database, self.prices, UsageProducer(self.producer), self.clock)

    def apply(self, digest: str, document: bytes) -> None:
        """Takes in the price books of a configuration version."""
        fresh = self.prices.put_in_force(document)
        log.info("configuration in force", extra={"fields": {"digest": digest[:19], "new_price_books": fresh}})

    def measured(self) -> Iterator[Sample]:
        """Yields what is measured, as it is now."""
        yield from samples(self.counters, self.gauges())
        yield from self.measures.samples()

    def gauges(self) -> dict[str, float]:
        """Returns what is measured when metrics are scraped."""
        return {
            "lag_events": self.consumer.lag_events,
            "lag_ms": self.consumer.lag_ms,
            "open_exceptions": self.consumer.open_exceptions,
            "dead_letters": self.alerts.dead_letters,
            "recent_ids": self.consumer.recent_ids,
            "unbooked_holds": self.counters.unbooked_holds,
            "wallets_beyond": self.counters.wallets_beyond,
            "stopped_partitions": len(self.consumer.stopped),
        }

    async def serve(self) -> None:
        """Runs until told to stop, then books what it has read."""
        stopping = self.lifecycle.stopping
        server = new_server(self.settings.address)
        billing_pb2_grpc.add_BillingServiceServicer_to_server(self.service, server)  # type: ignore[no-untyped-call]
        dead_letters_pb2_grpc.add_DeadLetterServiceServicer_to_server(self.dead_letters, server)  # type: ignore[no-untyped-call]
        ledger_pb2_grpc.add_LedgerServiceServicer_to_server(self.ledger_service, server)  # type: ignore[no-untyped-call]
        mending_pb2_grpc.add_MendingServiceServicer_to_server(self.mending, server)  # type: ignore[no-untyped-call]
        payments_pb2_grpc.add_PaymentServiceServicer_to_server(self.payments, server)  # type: ignore[no-untyped-call]
        controls_pb2_grpc.add_ControlServiceServicer_to_server(self.control_service, server)  # type: ignore[no-untyped-call]
        reports_pb2_grpc.add_ReportServiceServicer_to_server(self.reports, server)  # type: ignore[no-untyped-call]
        with stop_on_signals(self.lifecycle, self.settings.supervisor_fd):
            await self.admin.start()
            self.measures.lag.start()
            await self.holds.start()
            configuring = asyncio.create_task(self.config.run(stopping))
            if await self._retried(self._migrate, stopping):
                await server.start()
                log.info("serving", extra={"fields": {"address": self.settings.address}})
                if await self._retried(self.wallets.resume, stopping):
                    self.waiting_for = ""
                    self.lifecycle.ready()
                    await self._work(stopping)
            await server.stop(1)
            configuring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await configuring
            await self._close()

    async def _work(self, stopping: asyncio.Event) -> None:
        """Books, compares wallets and keeps price books, each at its own pace."""
        others = [
            asyncio.create_task(
                forever(
                    "comparing wallets",
                    self._reconcile,
                    pause_seconds=self.settings.reconcile_seconds,
                    stopping=stopping,
                )
            ),
            asyncio.create_task(
                forever(
                    "keeping price books",
                    self._unless_away("keeping price books", self.prices.save),
                    pause_seconds=_SAVE_SECONDS,
                    stopping=stopping,
                )
            ),
        ]
        # Neither holds up a stop: what they leave is done again by the next process.
        asides = [
            asyncio.create_task(
                forever("comparing the books", self._compare_books, pause_seconds=0, stopping=stopping)
            ),
            asyncio.create_task(
                forever(
                    "keeping refused requests",
                    lambda: self.refused.step(stopping),
                    pause_seconds=0,
                    stopping=stopping,
                )
            ),
            *(
                asyncio.create_task(
                    forever(name, self._unless_away(name, step), pause_seconds=pause, stopping=stopping)
                )
                for name, step, pause in (
                    ("watching budgets", self.budgets.step, _WATCH_SECONDS),
                    ("sending notices", self.notices.step, _DELIVER_SECONDS),
                    ("looking for anomalies", self._look_for_anomalies, _ANOMALY_SECONDS),
                    ("looking for alerts", self.alerts.step, self.settings.alert_seconds),
                )
            ),
        ]
        await forever("booking", lambda: self.consumer.step(stopping), pause_seconds=0, stopping=stopping)
        try:
            async with asyncio.timeout(self.settings.drain_seconds):
                await self.consumer.drain()
        except (TimeoutError, Unavailable, EventLogUnavailable, OwnershipLost) as error:
            log.warning("stopped before all was booked; the next start goes on", extra={"fields": {"why": str(error)}})
        for aside in asides:
            aside.cancel()
        await asyncio.wait([*others, *asides])

    async def _migrate(self) -> None:
        await self.database.migrate()
        if sealed := await self.destinations.seal():
            log.info("sealed the secrets of destinations", extra={"fields": {"destinations": sealed}})
        await self.clickhouse.migrate()
        await self.kept_events.let_go()

    async def _retried(self, work: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> bool:
        """Returns True when the work is done, False when the process stops first."""
        delay = _FIRST_RETRY_SECONDS
        while not stopping.is_set():
            try:
                await work()
            except (SqlUnavailable, Unavailable) as error:
                log.warning("waiting", extra={"fields": {"for": str(error)}})
                self.waiting_for = str(error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), delay)
                delay = min(delay * 2, _LAST_RETRY_SECONDS)
            else:
                return True
        return False

    async def _reconcile(self) -> None:
        try:
            await self.money.expire(self.clock.now_us())
            await self.wallets.reconcile()
        except Unavailable as error:
            log.warning("wallets are not compared now", extra={"fields": {"reason": str(error)}})

    async def _compare_books(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.lifecycle.stopping.wait(), self.settings.comparison_seconds)
            return
        if (report := await self.books.look_back(self.settings.comparison_hours)) is not None:
            self.alerts.compared(report)

    async def _look_for_anomalies(self) -> int:
        found = await self.anomalies.step()
        self.counters.add("anomalies", found)
        return found

    @staticmethod
    def _unless_away(name: str, step: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        """Returns a step that waits for the next turn while something behind billing is away."""

        async def tried() -> None:
            try:
                await step()
            except Unavailable as error:
                log.warning("%s waits", name, extra={"fields": {"reason": str(error)}})

        return tried

    async def _close(self) -> None:
        await self.log_consumer.close()
        await self.refused_consumer.close()
        await self.producer.close()
        await self.holds.close()
        await self.sql.close()
        await asyncio.to_thread(self.notify_http.close)
        await self.clickhouse.close()
        self.turns.close()
        self.database.close()
        self.tracing.shutdown()
        self.measures.lag.stop()
        self.lifecycle.stopped()
        await self.admin.stop()


async def run(settings: BillingSettings) -> None:
    """Builds billing and serves until told to stop."""
    await Billing(settings, os.environ, SystemClock()).serve()
