"""Has the product say the oracle's facts: router, media-jobs and edge make the events, as they would of the same."""

import os
import random
from types import MappingProxyType, SimpleNamespace

from services.billing.tests.integration.running import BillingProcess

from tollgate.events.v1 import refused_pb2
from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.witness import Witness
from tollgate_kit.event_log import Record, new_producer
from tollgate_kit.ids import event_id
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool
from tollgate_kit.tracing import NoTracing
from tollgate_media_jobs.domain.job import Attempt, ImageRequest, Job, Reported
from tollgate_media_jobs.domain.job import Tenant as JobTenant
from tollgate_media_jobs.use_cases.usage_event import Picture, bill, usage_message
from tollgate_resources import compile_version, digest, load, load_catalogue, parse_version
from tollgate_router.domain.snapshot import Snapshot
from tollgate_router.domain.target import Origin, Target
from tollgate_router.exchange.recorder import AttemptResult, Recorder, usage_fields
from tollgate_router.telemetry import RouterCounters

STATUSES = {
    "confirmed": events.EVENT_STATUS_CONFIRMED,
    "unconfirmed": events.EVENT_STATUS_UNCONFIRMED,
    "witness": events.EVENT_STATUS_WITNESS,
}


class Nobody:
    async def send(self, topic, records):
        raise AssertionError("nothing is published here")


class Version:
    """A configuration version of what is declared in a file."""

    def __init__(self, file):
        catalogue = load_catalogue()
        loaded = load([file], catalogue)
        assert not loaded.problems, loaded.problems
        self.document = compile_version(loaded.declared(), catalogue)
        self.digest = digest(self.document)
        parsed = parse_version(self.document)
        self.table = parsed.price_table()
        self.books = {book.rated().digest: book.rated() for book in parsed.price_books}
        self.channels = {channel.name: channel for channel in parsed.channels}


class Speaker:
    """Makes messages of facts, under a version."""

    def __init__(self, version, directory):
        self.version = version
        spool = Spool.open(directory)
        self.recorder = Recorder(
            spool=spool,
            publisher=Publisher(spool, Nobody(), "topic", gather_seconds=0),
            tracing=NoTracing(),
            random_source=random.Random(1),
            sample_ratio=0,
            slow_us=10**9,
            counters=RouterCounters(),
        )
        self.snapshot = Snapshot(version.digest, (), version.table, MappingProxyType({}))
        self.targets = {
            name: Target(
                channel=name,
                key_index=0,
                provider=channel.provider,
                origin=Origin("https", "api.example", 443),
                base_path="",
                upstream_model="upstream",
                conforming=True,
                weight=1,
                header_block=b"",
                cost=channel.rated_cost(),
            )
            for name, channel in version.channels.items()
        }

    def message(self, fact):
        """Returns the event of a fact."""
        if fact["source"] == "witness":
            event = self._witness(fact)
        else:
            event = self._picture(fact) if fact["operation"] == "image" else self._attempt(fact)
        event.status, event.replay = STATUSES[fact["status"]], fact["replay"]
        return event

    def _tenant(self, fact):
        return wire.Tenant(
            organization_id=fact["organization"],
            project_id=fact["project"],
            api_key_id=fact["key"],
            price_group=fact["group"],
            currency=fact["currency"],
        )

    def _attempt(self, fact):
        opened = wire.Open(
            id=1,
            request_id=fact["request_id"],
            started_at_us=fact["started_us"],
            dialect=wire.DIALECT_OPENAI_CHAT,
            operation=wire.OPERATION_CHAT,
            model=fact["model"],
            tenant=self._tenant(fact),
        )
        setattr(opened, "try", fact["try"])
        recorded, _ = self.recorder.record(
            opened,
            self.snapshot,
            AttemptResult(
                target=self.targets[fact["channel"]],
                number=fact["attempt"],
                final=fact["final"],
                outcome=wire.Outcome.Value(f"OUTCOME_{fact['outcome'].upper()}"),
                upstream_status=200,
                error_kind=0,
                units=fact["units"],
                usage=usage_fields(fact["units"], fact["service"]),
                estimated=False,
                ended_us=fact["ended_us"],
                timings={
                    "upstream_started_us": 1,
                    "first_byte_us": fact["first_byte_us"],
                    "total_us": fact["total_us"],
                },
                trace_kept=False,
            ),
        )
        return events.UsageRecorded.FromString(recorded.payload)

    def _witness(self, fact):
        units = fact["units"]
        event = events.UsageRecorded(
            event_id=event_id(fact["request_id"], fact["try"], 0, events.EVENT_SOURCE_WITNESS),
            request_id=fact["request_id"],
            source=events.EVENT_SOURCE_WITNESS,
            final=True,
            estimated=True,
            started_at_us=fact["started_us"],
            ended_at_us=fact["ended_us"],
            model=fact["model"],
            operation=wire.OPERATION_CHAT,
            outcome=wire.OUTCOME_ROUTER_LOST,
            usage=wire.Usage(requests=1, input_tokens=units["input"], output_tokens=units["output"]),
            tenant=self._tenant(fact),
            **{"try": fact["try"]},
        )
        Witness._rate(event, SimpleNamespace(digest=self.version.digest, price_table=self.version.table))
        return event

    def _picture(self, fact):
        table, created = self.version.table, fact["started_us"]
        price = table.find("picture", fact["group"], created, fact["currency"])
        job = Job(
            id=f"job-{fact['request_id']}",
            request_id=fact["request_id"],
            tenant=JobTenant(fact["organization"], fact["project"], fact["key"], fact["group"]),
            model="picture",
            image=ImageRequest("A toll gate"),
            created_at_us=created,
            deadline_at_us=created,
            next_at_us=created,
            attempt=fact["attempt"],
            config_digest=self.version.digest,
            price_digest=price.digest,
            currency=price.currency,
            exchange_rate=price.exchange.canonical().decode() if price.exchange is not None else "",
        )
        tokens = {unit: count for unit, count in fact["units"].items() if unit in {"input", "image_output"}}
        pictures = []
        for unit, count in fact["units"].items():
            if unit.partition(":")[0] == "image":
                _, size, quality = (*unit.split(":"), "")[:3]
                pictures += [Picture(size, quality)] * count
        channel = self.version.channels[fact["channel"]]
        charged = bill(job, self.version.books[price.digest], pictures, Reported(tokens), channel.rated_cost())
        attempt = Attempt(
            job.id,
            fact["attempt"],
            channel.name,
            channel.provider,
            "upstream",
            private_network=False,
            span_id="",
            started_at_us=created,
        )
        message = usage_message(
            job, attempt, charged, outcome=wire.OUTCOME_OK, final=True, ended_at_us=fact["ended_us"], sample_ratio=0
        )
        return events.UsageRecorded.FromString(message.payload)


class ClockedBilling(BillingProcess):
    """A process whose clock the test sets."""

    def __init__(self, directory, servers):
        super().__init__(directory, servers | {"ORACLE_CLOCK": str(directory / "slow.txt")})
        self.program = ("-m", "tests.oracle.clocked_billing")

    def set_clock(self, at_us, now_us):
        """Has it be `at_us` where it is `now_us`."""
        written = self.directory / "slow.new"
        written.write_text(str(now_us - at_us))
        os.replace(written, self.directory / "slow.txt")  # noqa: PTH105 - at once, for whoever reads it just now.

    def configure(self, version):
        """Leaves a configuration version for the next start."""
        (self.directory / "state" / "config-version.json").write_bytes(version.document)


async def refuse(url, requests):
    """Appends what edge refused to its topic."""
    producer = new_producer(url)
    message = refused_pb2.RequestsRefused(requests=[refused_pb2.RequestRefused(**one) for one in requests])
    await producer.send("request.refused.v1", [Record(b"edge", message.SerializeToString())])
    await producer.close()
