"""Usage events as a router would publish them: real prices, tenants of the running product, held and settled money."""

import asyncio
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.product import Product
from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_holds.holds import Holds
from tollgate_kit.event_log import EventProducer, Record, new_producer
from tollgate_kit.ids import event_id
from tollgate_rating import PriceTable
from tollgate_resources import compile_version, environment_channels, load_catalogue, parse_version

TOPIC = "usage.recorded.v1"
MODELS = ("gpt-5-mini", "gpt-4o-mini", "gpt-5.1", "gpt-4.1-mini")
KEYS = 200
DAYS = 7
HOLD_SECONDS = 3600
A_CALL = 1000


@dataclass(frozen=True, slots=True)
class Template:
    """What all events share, taken from a request that the product has booked."""

    organization: str
    project: str
    config_digest: str


def price_document() -> bytes:
    """Returns a configuration version with the prices that ship with the product."""
    catalogue = load_catalogue()
    return compile_version(environment_channels({}, catalogue, "http://x/v1"), catalogue)


def price_table() -> PriceTable:
    """Returns the prices that ship with the product."""
    return parse_version(price_document()).price_table()


class EventSource:
    """Makes events that differ as real ones do: keys, models, sizes, times over a week.

    Of more than one organization, each has a number behind the template's name.
    """

    def __init__(self, template: Template, seed: int, organizations: int = 1) -> None:
        self._template = template
        name = template.organization
        self.organizations = [f"{name}{number:03}" for number in range(organizations)] if organizations > 1 else [name]
        self._random = random.Random(seed)
        self._prices = price_table()
        self._made = 0

    def make(self, count: int, seconds: float = DAYS * 24 * 3600) -> Iterator[tuple[events.UsageRecorded, int]]:
        """Yields events and their charges, in the order of their time, which is spread over the last `seconds`."""
        now = time.time_ns() // 1000
        step = seconds * 1_000_000 / count
        for number in range(count):
            yield self._event(now - int(step * (count - number)))

    def _event(self, at_us: int) -> tuple[events.UsageRecorded, int]:
        source = self._random
        self._made += 1
        request = f"req_{source.getrandbits(64):016x}{self._made:08x}"
        model = source.choice(MODELS)
        units = {"input": source.randint(20, 4000), "output": source.randint(1, 900)}
        if source.random() < 0.4:
            units["cache_read"] = source.randint(100, 8000)
        price = self._prices.find(model, "", at_us)
        assert price is not None, model
        charge = price.rate(units)
        total_us = source.randint(200_000, 9_000_000)
        template = self._template
        return events.UsageRecorded(
            event_id=event_id(request, 1, 1, events.EVENT_SOURCE_ROUTER),
            request_id=request,
            attempt=1,
            source=events.EVENT_SOURCE_ROUTER,
            final=True,
            status=events.EVENT_STATUS_CONFIRMED,
            started_at_us=at_us,
            ended_at_us=at_us + total_us,
            tenant=wire.Tenant(
                organization_id=source.choice(self.organizations)
                if len(self.organizations) > 1
                else template.organization,
                project_id=template.project,
                api_key_id=f"key_bench{source.randrange(KEYS):04d}",
                price_group="default",
                route_group="default",
            ),
            model=model,
            upstream_model=model,
            provider="simulator",
            channel="simulator",
            dialect=wire.DIALECT_OPENAI_CHAT,
            operation=wire.OPERATION_CHAT,
            stream=source.random() < 0.6,
            outcome=wire.OUTCOME_OK,
            upstream_status=200,
            usage=wire.Usage(**{f"{name}_tokens": count for name, count in units.items()}),
            cost_pico=charge,
            charge_pico=charge,
            currency="USD",
            price_digest=price.digest,
            config_digest=template.config_digest,
            traceparent=f"00-{source.getrandbits(128):032x}-{source.getrandbits(64):016x}-00",
            timings=wire.Timings(first_byte_us=total_us // 4, total_us=total_us),
            **{"try": 1},
        ), charge


def template_of(row: Mapping[str, Any]) -> Template:
    """Returns what the events share with a usage row of the product."""
    return Template(row["organization_id"], row["project_id"], row["config_digest"])


class Publisher:
    """Holds and settles the money of requests, as edge does, and appends their events to the log, as a router does."""

    def __init__(self, producer: EventProducer, redis_url: str) -> None:
        self._producer = producer
        self._holds = Holds(redis_url)

    @classmethod
    def of(cls, product: Product, redis_url: str) -> Self:
        """Returns one for a running product."""
        return cls(new_producer(f"sqlite://{_log(product.home)}"), redis_url)

    async def __aenter__(self) -> Self:
        await self._holds.start()
        assert await self._holds.wait_ready(30)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.close()
        await self._holds.close()

    async def settle(self, part: Sequence[tuple[events.UsageRecorded, int]]) -> None:
        """Holds and settles the money of some events."""
        await _hold_and_settle(self._holds, part)

    async def publish(self, made: Sequence[tuple[events.UsageRecorded, int]]) -> list[str]:
        """Publishes events with their charges; returns some request ids."""
        names: list[str] = []
        for first in range(0, len(made), A_CALL):
            part = made[first : first + A_CALL]
            await self.settle(part)
            await self._producer.send(
                TOPIC, [Record(event.request_id.encode(), event.SerializeToString()) for event, _ in part]
            )
            names.append(part[0][0].request_id)
        return names


async def publish(product: Product, redis_url: str, source: EventSource, count: int) -> list[str]:
    """Publishes `count` events of the source; returns some request ids."""
    async with Publisher.of(product, redis_url) as publisher:
        return await publisher.publish(list(source.make(count)))


async def _hold_and_settle(holds: Holds, part: Sequence[tuple[events.UsageRecorded, int]]) -> None:
    operations: dict[str, list[bytes | str | int]] = {}
    for event, charge in part:
        of = operations.setdefault(event.tenant.organization_id, [])
        of += (b"h", event.request_id, 2 * charge, b"s", event.request_id, charge)
    for organization, some in operations.items():
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        assert holds.pipe.submit(holds.pack(organization, HOLD_SECONDS, some), done.set_result)
        reply = await done
        assert isinstance(reply, list), reply
        assert set(reply) == {1}, "a hold was refused"


def _log(home: Path) -> Path:
    return home / "log" / "events.sqlite"
