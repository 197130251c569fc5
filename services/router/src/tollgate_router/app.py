"""Composition root of the router: the only file that builds adapters and wires them."""

import asyncio
import gc
import logging
import os
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from tollgate.events.v1 import usage_pb2 as events
from tollgate.router.v1 import responses_pb2_grpc, router_pb2_grpc
from tollgate_kit.admin import AdminServer
from tollgate_kit.clock import SystemClock
from tollgate_kit.config_client import ConfigClient
from tollgate_kit.event_log import new_producer
from tollgate_kit.lifecycle import Lifecycle, stop_on_signals
from tollgate_kit.metrics import Sample, new_registry
from tollgate_kit.process_metrics import ProcessMeasures
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool
from tollgate_kit.tracing import new_tracing
from tollgate_resources import parse_version
from tollgate_router.adapters.credentials import EnvironmentCredentials
from tollgate_router.adapters.mode_file import ModeFile
from tollgate_router.adapters.rsa_key import load_rsa_key
from tollgate_router.api.admin import RouterAdmin
from tollgate_router.api.responses import StoredResponses
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.health.states import Change
from tollgate_router.domain.snapshot import Snapshot, compile_snapshot
from tollgate_router.domain.tokens import Tokens
from tollgate_router.exchange.measured import health_samples, stream_samples, upstream_samples
from tollgate_router.exchange.recorder import USAGE_TOPIC, Recorder
from tollgate_router.exchange.service import ExchangeDeps, ExchangeService
from tollgate_router.settings import RouterSettings
from tollgate_router.telemetry import FAMILIES, RouterCounters
from tollgate_router.upstream.client import ClientLimits, UpstreamClient
from tollgate_router.upstream.probe import UpstreamProbe
from tollgate_router.upstream.token_server import TokenServer
from tollgate_router.use_cases.keep_responses import KeepResponses
from tollgate_router.use_cases.probe_channels import ProbeChannels
from tollgate_router.use_cases.refresh_tokens import RefreshTokens
from tollgate_streams.server import StreamServer

if TYPE_CHECKING:
    from tollgate_router.adapters.sql_responses import SqlResponses

log = logging.getLogger(__name__)

_SLICE_SECONDS: Final = 0.001
_PAUSE_SECONDS: Final = 0.004


class Router:
    """The parts of a running router."""

    def __init__(self, settings: RouterSettings, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.lifecycle = Lifecycle()
        clock = SystemClock()
        self.tracing = new_tracing("router", slot=settings.slot, environment=environment)
        self.spool = Spool.open(
            settings.spool_directory, max_bytes=settings.spool_max_bytes, fsync=settings.spool_fsync
        )
        self.producer = new_producer(settings.event_log_url)
        again = events.UsageRecorded(replay=True).SerializeToString()
        self.publisher = Publisher(self.spool, self.producer, USAGE_TOPIC, again=again)
        counters = RouterCounters()
        self.recorder = Recorder(
            spool=self.spool,
            publisher=self.publisher,
            tracing=self.tracing,
            random_source=random.Random(),  # noqa: S311 - ids of spans are no secrets.
            sample_ratio=settings.trace_sample_ratio,
            slow_us=round(settings.trace_slow_seconds * 1e6),
            counters=counters,
        )
        if self.tracing.enabled:
            self.publisher.on_published = self.recorder.published
        self.upstream = UpstreamClient(
            clock,
            max_connections_per_origin=settings.max_connections_per_origin,
            keep_idle_seconds=settings.keep_idle_seconds,
            ca_file=settings.ca_file,
            ports=settings.ports,
            limits=ClientLimits(connection_age_seconds=settings.connection_age_seconds),
        )
        self.modes = ModeFile(settings.state_directory)
        self.health = Health(settings.health_policy(), self.health_changed, self.modes.load())
        self.responses = _new_responses(settings)
        self.deps = ExchangeDeps(
            settings=settings,
            clock=clock,
            recorder=self.recorder,
            upstream=self.upstream,
            counters=counters,
            random_source=random.Random(),  # noqa: S311 - spreads load, keeps no secret.
            responses=self.responses,
        )
        self.keep = None if self.responses is None else KeepResponses(self.responses, clock)
        if self.keep is not None:
            self.lifecycle.add_note(self.responses_problem)
        self.exchange = ExchangeService(self.deps)
        self.probes = ProbeChannels(
            UpstreamProbe(self.upstream, clock),
            clock,
            random.Random(),  # noqa: S311 - spreads probes, keeps no secret.
        )
        self.tokens = Tokens(load_rsa_key)
        self.refreshing = RefreshTokens(TokenServer(self.upstream), self.tokens, clock)
        self.credentials = EnvironmentCredentials(environment)
        self.config = ConfigClient(settings.config_addresses, settings.state_directory, self.apply)
        self.process = ProcessMeasures(
            "router", self.lifecycle, self.config_digest, self.spool, settings.spool_max_bytes, self.publisher
        )
        registry = new_registry(FAMILIES, self.samples)
        self.admin = AdminServer(settings.admin_address, self.lifecycle, registry, self.config_digest)
        self.lifecycle.add_blocker(lambda: None if self.deps.snapshot else "no configuration version has arrived")
        self.lifecycle.add_blocker(lambda: None if self.spool.has_room() else "the spool is full")

    def apply(self, digest: str, document: bytes) -> None:
        """Swaps in the snapshot of a configuration version."""
        at_us = self.deps.clock.now_us()
        snapshot = compile_snapshot(
            parse_version(document), digest, self.credentials, self.health, at_us, self.tokens, self.settings.ports
        )
        self.deps.snapshot = snapshot
        self.upstream.warm(snapshot.origins(), self.settings.warm_connections)
        self.probes.follow(snapshot)
        self.refreshing.follow(snapshot)
        log.info(
            "configuration in force", extra={"fields": {"digest": digest[:19], "channels": len(snapshot.channels)}}
        )
        for channel in snapshot.channels:
            if channel.problem:
                log.warning(
                    "a channel is left out", extra={"fields": {"channel": channel.name, "problem": channel.problem}}
                )
        _keep()
        self.make_lists(snapshot)

    def make_lists(self, snapshot: Snapshot) -> None:
        """Makes candidate lists in short slices, so that most requests find theirs and none waits for all of them."""
        if snapshot is not self.deps.snapshot:
            return
        end = self.deps.clock.monotonic() + _SLICE_SECONDS
        if snapshot.make_some(lambda: self.deps.clock.monotonic() >= end):
            asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self.make_lists, snapshot)
        else:
            _keep()

    @staticmethod
    def health_changed(change: Change) -> None:
        """Logs what became of a channel; operators are alerted by the metrics."""
        level = (
            logging.INFO if change.state in {"closed", "restored", "half-open", "probe answered"} else logging.WARNING
        )
        log.log(
            level,
            "the health of a channel changed",
            extra={
                "fields": {
                    "channel": change.channel,
                    "subject": change.subject,
                    "state": change.state,
                    "reason": change.reason,
                    "seconds": change.seconds,
                }
            },
        )

    def responses_problem(self) -> str | None:
        """Returns why responses cannot be stored; None while they can, or where none are."""
        return None if self.keep is None else self.keep.problem or None

    def config_digest(self) -> str:
        """Returns the version in force, empty before there is one."""
        return self.config.digest

    def samples(self) -> Iterator[Sample]:
        """Yields everything that is measured; called when metrics are scraped."""
        yield "tollgate_router_open_requests", (), self.deps.open_requests
        if self.deps.background is not None:
            yield "tollgate_router_background_responses", (), len(self.deps.background.running)
        yield "tollgate_router_unpriced_total", (), self.recorder.unpriced
        yield "tollgate_router_gathered_reply_bytes", (), self.deps.memories.replies.bytes
        yield "tollgate_router_replies_refused_total", (), self.deps.memories.replies.refused
        yield "tollgate_router_long_body_bytes", (), self.deps.memories.bodies.bytes
        yield "tollgate_router_bodies_refused_total", (), self.deps.memories.bodies.refused
        yield "tollgate_router_probes_total", (), self.probes.sent
        yield "tollgate_router_probes_failed_total", (), self.probes.failed
        yield from self.deps.counters.samples()
        yield from health_samples(self.health, self.deps.clock.monotonic())
        yield from stream_samples(self.deps.sessions)
        yield from upstream_samples(self.upstream)
        yield from self.process.samples()

    async def serve(self) -> None:
        """Runs until told to stop, then drains."""
        server = StreamServer(self.settings.address)
        self.exchange.register(server)
        add_admin: Any = router_pb2_grpc.add_RouterAdminServiceServicer_to_server
        add_responses: Any = responses_pb2_grpc.add_StoredResponsesServiceServicer_to_server
        background = self.deps.background
        add_responses(StoredResponses(self.responses, background, self.deps.clock), server)
        add_admin(RouterAdmin(self.deps, self.upstream.open_by_channel, self.health, self.modes.save), server)
        stopped = asyncio.Event()
        with stop_on_signals(self.lifecycle, self.settings.supervisor_fd):
            await self.admin.start()
            self.process.lag.start()
            replayed = self.recorder.publish_recovered()
            if replayed:
                log.warning("events of an earlier process are sent again", extra={"fields": {"events": replayed}})
            publishing = asyncio.create_task(self.publisher.run(stopped))
            configuring = asyncio.create_task(self.config.run(self.lifecycle.stopping))
            probing = asyncio.create_task(self.probes.run(self.lifecycle.stopping))
            keeping = asyncio.create_task(self.keep.run(self.lifecycle.stopping)) if self.keep is not None else None
            # Until the last one has ended, since a drain waits for them.
            watching = asyncio.create_task(background.run(stopped)) if background is not None else None
            refreshing = asyncio.create_task(self.refreshing.run(stopped))
            await server.start()
            self.lifecycle.ready()
            log.info("serving", extra={"fields": {"address": self.settings.address}})
            await self.lifecycle.stopping.wait()
            await self.exchange.drain(self.settings.drain_seconds)
            await server.stop(1)
            self.spool.flush()
            stopped.set()
            tasks = {
                task for task in (publishing, configuring, probing, refreshing, keeping, watching) if task is not None
            }
            await asyncio.wait(tasks, timeout=5)
            for task in tasks:
                task.cancel()
            if self.responses is not None:
                self.responses.close()
            await self.upstream.close()
            await self.producer.close()
            self.tracing.shutdown()
            self.spool.close()
            self.process.lag.stop()
            self.lifecycle.stopped()
            await self.admin.stop()


def _new_responses(settings: RouterSettings) -> "SqlResponses | None":
    if not settings.responses_retention_days:
        return None
    # SQL and ciphers cost memory and start-up time, so only a router that stores responses loads them.
    from tollgate_kit.secret_files import read_secrets
    from tollgate_router.adapters.sql_responses import SqlResponses
    from tollgate_sealing.envelopes import Envelopes, KeyRing

    here, file = settings.responses_keys.get_secret_value().split(), settings.responses_key_file
    keys = tuple(map(bytes.fromhex, here)) if file is None else read_secrets(file)
    return SqlResponses(settings.responses_database_url.get_secret_value(), Envelopes(KeyRing(keys)))


def _keep() -> None:
    """What a version holds lives long: keeps the collector from walking it again and again.

    A full collection would hold the loop for 40 ms with ten channels, and for 380 ms with 1,000 and 10,000 routes; so
    it takes less than 2 us.
    """
    gc.collect()
    gc.freeze()


async def run(settings: RouterSettings) -> None:
    """Builds the router and serves until told to stop."""
    await Router(settings, os.environ).serve()
