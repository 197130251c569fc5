"""A month of usage as billing would book it: random events, judged batch by batch against what is there already."""

import random

from services.billing.tests.fakes.events import CONFIRMED, UNCONFIRMED, WITNESS, usage_event

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.domain.event import decode
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import judge
from tollgate_billing.domain.recent import RecentIds
from tollgate_billing.domain.rows import rows_of

DAY_US = 24 * 3600 * 10**6
OUTCOMES = (
    *[wire.OUTCOME_OK] * 8,
    *(wire.OUTCOME_UPSTREAM_ERROR, wire.OUTCOME_UPSTREAM_CUT, wire.OUTCOME_CANCELLED),
    *(wire.OUTCOME_TIMEOUT, wire.OUTCOME_REFUSED),
)


def random_events(seed, count, now_us, tag):
    """Returns events of the month before `now_us`; requests come back with other tries and other words."""
    rng = random.Random(seed)
    events = []
    for number in range(count):
        old = rng.random() < 0.4 and events
        name = rng.choice(events).request_id if old else f"{tag}-{number}"
        tried, status = rng.choice((1, 1, 1, 2)), rng.choice((CONFIRMED, CONFIRMED, CONFIRMED, UNCONFIRMED, WITNESS))
        # Most lie in the last hours, which minutes are asked about.
        age_us = rng.randrange(2 * 3600 * 10**6 if rng.random() < 0.6 else 30 * DAY_US)
        images = [wire.ImageCount(size="512x512", count=rng.randint(1, 4))] if rng.random() < 0.1 else []
        organization = f"{tag}-org-{rng.choice('abc')}"
        unpriced, final = rng.random() < 0.05, rng.random() < 0.9
        usage = wire.Usage(
            input_tokens=rng.randrange(10_000),
            output_tokens=rng.randrange(2_000),
            cache_read_tokens=rng.choice((0, 0, rng.randrange(5_000))),
            cache_write_5m_tokens=rng.choice((0, rng.randrange(500))),
            cache_write_1h_tokens=rng.choice((0, rng.randrange(500))),
            reasoning_tokens=rng.randrange(100),
            images=images,
            requests=1,
        )
        events.append(
            usage_event(
                name,
                tried=tried,
                attempt=rng.randint(1, 3),
                status=status,
                final=final,
                at_us=now_us - age_us,
                tenant=wire.Tenant(
                    organization_id=organization,
                    project_id=f"p{rng.randrange(3)}",
                    api_key_id=f"k{rng.randrange(7)}",
                    tags=rng.choice(("", "blue", "blue,red", "red", "redder")),
                    member=rng.choice(("", "ada", "bob")),
                ),
                model=rng.choice(("m", "n", "o")),
                provider=f"{tag}-{rng.choice(('alpha', 'beta'))}",
                channel=f"{tag}-{rng.choice(('east', 'west'))}",
                outcome=rng.choice(OUTCOMES),
                usage=usage,
                charge_pico=rng.randrange(10**12) if final and not unpriced else 0,
                cost_pico=rng.randrange(10**12),
                client_network=rng.choice(("", "10.0.0.0/24", "10.0.1.0/24", "2001:db8::/48")),
                prompt_hash=rng.choice((0, 1, 2**64 - 1)),
                currency="CNY" if organization.endswith("c") else "USD",
                unpriced=unpriced,
                price_digest=rng.choice(("sha256:one", "sha256:two")),
                timings=wire.Timings(first_byte_us=rng.randrange(10**6), total_us=rng.randrange(10**7)),
            )
        )
    return events


async def book(events, store, others, epoch, *, size, now_us, again=2):
    """Books events in batches, each `again` times under its token, into `store` and into `others`."""
    for low in range(0, len(events), size):
        part = events[low : low + size]
        bounds = Bounds(epoch, "topic", 0, low, low + len(part))
        decoded = [decode(one.SerializeToString(), low + place, now_us) for place, one in enumerate(part)]
        requests = frozenset(one.request_id for one in decoded)
        history = await store.history(requests, bounds)
        judged, _ = judge(decoded, RecentIds(()), requests, history)
        made = rows_of(judged, bounds, now_us)
        extra = made.columns["extra_units"]
        for place, units in enumerate(extra):
            # No operation makes video yet; its units will be kept here.
            if place % 11 == 3 and made.columns["kind"][place] == "usage":
                extra[place] = {**units, ("video", "video:720p", "video:1080p:audio")[place % 3]: place}
        for one in (store, *others):
            for _ in range(again):
                await one.insert_usage(made, bounds.batch)
