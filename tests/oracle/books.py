"""What raw facts come to: which of them count at which time, statements, single charges, and rows as views see them."""

from collections import defaultdict
from decimal import Decimal

RANKS = {"confirmed": 2, "unconfirmed": 1, "witness": 0}
TOKENS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")


class Books:
    """Takes in the phases of a month one after the other; `prices` says what each event comes to."""

    def __init__(self, prices):
        self.prices = prices
        # Every event once, by its id, in order; and which of a request's finals carries its charge.
        self.events, self.best = {}, {}
        # What was charged later, by the id of the event that had no price.
        self.later = {}

    def book(self, facts):
        """Takes events in, in their order."""
        for event in facts:
            if event["id"] in self.events:
                continue
            self.events[event["id"]] = event | {"said": self.prices.charge(event, event["currency"])}
            if event["final"]:
                rank, best = (RANKS[event["status"]], event["try"]), self.best.get(event["request_id"])
                if best is None or rank > (RANKS[best["status"]], best["try"]):
                    self.best[event["request_id"]] = event

    def rate_later(self, prices, model, begin_us, end_us):
        """Charges what had no price by other books; returns the amounts."""
        found = []
        for best in self.best.values():
            if best["model"] == model and begin_us <= best["started_us"] < end_us and best["id"] not in self.later:
                if not self.events[best["id"]]["said"]["unpriced"]:
                    continue
                self.later[best["id"]] = prices.charge(best, best["currency"])
                found.append(self.later[best["id"]])
        return found

    def standing(self):
        """Returns request → (its event, what it is charged by)."""
        return {
            name: (best, self.later.get(best["id"], self.events[best["id"]]["said"]))
            for name, best in self.best.items()
        }

    def lines(self, organization):
        """Returns (project, model, price digest, rate digest) → [requests, pico-units] of all that is charged now."""
        found = defaultdict(lambda: [0, 0])
        for event, said in self.standing().values():
            if event["organization"] == organization and said["charge"]:
                line = found[event["project"], event["model"], said["price_digest"], said["rate_digest"]]
                line[0] += 1
                line[1] += said["charge"]
        return {key: tuple(line) for key, line in found.items()}

    def rows(self):
        """Returns rows whose sums are the usage store's: a loser has no charge, and its cost is a loss."""
        found = []
        for event in self.events.values():
            best, later = self.best[event["request_id"]] if event["final"] else event, self.later.get(event["id"])
            lost = event["final"] and best["id"] != event["id"]
            said = event["said"]
            # What was charged later stands in another row, and this one counts no more.
            found.append(_row(event, said, lost=lost or later is not None, cost=0 if later else said["cost"]))
            if lost and not later:
                found[-1]["loss"] = found[-1]["cost"]
            if later:
                found.append(_row(event | {"source": "billing"}, later, lost=lost, cost=later["cost"]))
                found[-1]["loss"] = found[-1]["cost"] if lost else Decimal(0)
        return found


def difference(after, before):
    """Returns the lines that came in between, and not those that came to nothing."""
    found = {}
    for key in {*after, *before}:
        requests, amount = (after.get(key, (0, 0))[place] - before.get(key, (0, 0))[place] for place in (0, 1))
        if requests or amount:
            found[key] = (requests, amount)
    return found


def _row(event, said, *, lost, cost):
    units = said["units"]
    charge = said["charge"] if event["final"] and not lost else 0
    tokens = {f"{name}_tokens": units.get(name, 0) for name in TOKENS}
    images = sum(count for unit, count in units.items() if unit.split(":")[0] == "image")
    return tokens | {
        "kind": "usage",
        "request_id": event["request_id"],
        "final": event["final"],
        "superseded": lost,
        "source": event["source"],
        "outcome": event["outcome"],
        "organization_id": event["organization"],
        "project_id": event["project"],
        "api_key_id": event["key"],
        "model": event["model"],
        "provider": event["provider"],
        "channel": event["channel"],
        "currency": said["currency"],
        "price_digest": said["price_digest"],
        "started_at": event["started_us"],
        "first_byte_us": event["first_byte_us"],
        "total_us": event["total_us"],
        "images": images,
        "extra_units": {},
        "unpriced": said["unpriced"],
        "charge": Decimal(charge).scaleb(-12),
        "cost": Decimal(cost).scaleb(-12),
        "loss": Decimal(0),
    }
