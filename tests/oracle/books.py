"""What a month of raw events comes to: which of them count, rows as views see them, statements, and single charges."""

from collections import defaultdict
from decimal import Decimal

RANKS = {"confirmed": 2, "unconfirmed": 1, "witness": 0}


def settle(events):
    """Returns each event once, in order, with `lost`: whether another final carries its request's charge."""
    once, best = {}, {}
    for place, event in enumerate(events):
        once.setdefault(event["id"], event | {"lost": False, "place": place})
    for event in once.values():
        if not event["final"]:
            continue
        rank, other = (RANKS[event["status"]], event["try"]), best.get(event["request_id"])
        if other is None or rank > (RANKS[other["status"]], other["try"]):
            best[event["request_id"]] = event
            if other is not None:
                other["lost"] = True
        else:
            event["lost"] = True
    return list(once.values())


def rows(settled, price_digest):
    """Returns events as rows of the usage store would add up: a loser has no charge, and its cost is a loss."""
    found = []
    for event in settled:
        priced = event["model"] != "unknown"
        amount = Decimal(0 if event["lost"] else event["charge"]).scaleb(-12)
        cost = Decimal(event["cost"]).scaleb(-12)
        found.append(
            {
                "kind": "usage",
                "request_id": event["request_id"],
                "final": event["final"],
                "superseded": event["lost"],
                "source": event["source"],
                "outcome": event["outcome"],
                "organization_id": event["organization"],
                "project_id": event["project"],
                "api_key_id": event["key"],
                "model": event["model"],
                "provider": event["provider"],
                "channel": event["channel"],
                "currency": "USD",
                "price_digest": price_digest if priced else "",
                "started_at": event["started_us"],
                "first_byte_us": event["first_byte_us"],
                "total_us": event["total_us"],
                "input_tokens": event["input"],
                "cache_read_tokens": event["cached"],
                "cache_write_5m_tokens": 0,
                "cache_write_1h_tokens": 0,
                "output_tokens": event["output"],
                "images": sum(count for _, count in event["images"]),
                "extra_units": {},
                "unpriced": event["unpriced"],
                "charge": amount,
                "cost": cost,
                "loss": cost if event["lost"] else Decimal(0),
            }
        )
    return found


def charges(settled):
    """Returns what each request is charged, in pico-units."""
    found = defaultdict(int)
    for event in settled:
        found[event["request_id"]] += 0 if event["lost"] else event["charge"]
    return dict(found)


def statement(settled, organization, price_digest):
    """Returns (project, model, price digest) → (requests that were charged, pico-units) of an organization."""
    lines = defaultdict(lambda: (0, 0))
    for event in settled:
        if event["organization"] == organization and event["charge"] and not event["lost"]:
            key = (event["project"], event["model"], price_digest)
            lines[key] = (lines[key][0] + 1, lines[key][1] + event["charge"])
    return dict(lines)
