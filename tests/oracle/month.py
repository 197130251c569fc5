"""Makes the raw events of a month, as routers and witnesses say them, in the order of the log."""

import hashlib
import random
from decimal import ROUND_HALF_EVEN, Decimal

DAY_US = 24 * 3600 * 10**6
# Per million tokens, and per image by size; cached tokens without a price of their own are input.
TOKEN_PRICES = {"m": {"input": Decimal(1), "cached": Decimal(1), "output": Decimal(10)}}
IMAGE_PRICES = {"picture": {"1024x1024": Decimal("0.04"), "": Decimal("0.02")}}
PICO = Decimal(10) ** 12
OUTCOMES = ("ok",) * 7 + ("upstream_error", "cancelled", "timeout")


def price_of(event):
    """Returns what an event's units cost, in pico-units, rounded half-even once; None where nothing has a price."""
    model = event["model"]
    if model in TOKEN_PRICES:
        prices = TOKEN_PRICES[model]
        counts = {"input": event["input"], "cached": event["cached"], "output": event["output"]}
        amount = sum((prices[name] * count for name, count in counts.items()), Decimal(0)) / 10**6
    elif model in IMAGE_PRICES:
        prices = IMAGE_PRICES[model]
        amount = sum((prices.get(size, prices[""]) * count for size, count in event["images"]), Decimal(0))
    else:
        return None
    return int((amount * PICO).to_integral_value(ROUND_HALF_EVEN))


def events_of(seed, requests, now_us):
    """Returns events as plain dictionaries."""
    rng = random.Random(seed)
    stories = [_story(rng, f"s{seed}-r{number}", now_us) for number in range(requests)]
    mixed = []
    while stories:
        story = rng.choice(stories)
        mixed.append(story.pop(0))
        stories = [one for one in stories if one]
    return mixed


def _story(rng, name, now_us):
    about = {
        "request_id": name,
        "organization": rng.choice(("org-a", "org-b")),
        "project": f"p{rng.randrange(3)}",
        "key": f"k{rng.randrange(5)}",
        "model": rng.choice(("m", "m", "m", "picture", "unknown")),
        # Some lie in the last hour, which minutes are asked about.
        "ended_us": now_us - rng.randrange(3600 * 10**6 if rng.random() < 0.3 else 29 * DAY_US) - 10**6,
    }

    def said(source="router", status="confirmed", tried=1, attempt=1, *, final=True, replay=False):
        return _event(rng, about, source, status, tried, attempt, final=final, replay=replay)

    normal = said()
    lost, witness = said(status="unconfirmed"), said("witness", "witness", attempt=0)
    return rng.choice(
        [
            [normal],
            [normal],
            [normal],
            [normal, dict(normal)],
            [normal, normal | {"replay": True}],
            [said(final=False), said(attempt=2)],
            [witness],
            [witness, lost],
            [lost, witness],
            [lost, said(tried=2)],
            [witness, said(tried=2)],
            [lost, normal | {"replay": True}],
        ]
    )


def _event(rng, about, source, status, tried, attempt, *, final, replay):
    picture = about["model"] == "picture"
    event = about | {
        "id": hashlib.md5(f"{about['request_id']}/{tried}/{attempt}/{source}".encode(), usedforsecurity=False).digest(),
        "source": source,
        "status": status,
        "try": tried,
        "attempt": attempt,
        "final": final,
        "replay": replay,
        "started_us": about["ended_us"] - rng.randrange(1, 5_000_000),
        "provider": rng.choice(("alpha", "beta")),
        "channel": rng.choice(("east", "west")),
        "outcome": rng.choice(OUTCOMES) if final else "upstream_error",
        "input": 0 if picture else rng.randrange(10_000),
        "cached": 0 if picture else rng.choice((0, rng.randrange(4_000))),
        "output": 0 if picture else rng.randrange(2_000),
        "images": [(rng.choice(("1024x1024", "512x512")), rng.randint(1, 4))] if picture else [],
        "first_byte_us": rng.randrange(1, 10**6),
        "total_us": rng.randrange(10**6, 10**7),
        "cost": rng.randrange(10**10),
    }
    charge = price_of(event)
    event["unpriced"] = charge is None
    event["charge"] = charge if final and charge else 0
    return event
