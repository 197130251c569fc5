"""Price books and exchange rates read from their YAML, and what usage costs by them, in exact fractions."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import yaml

INPUT = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
OUTPUT = ("output", "reasoning", "audio_output", "image_output", "video_output")
PICO = 10**12
HOME = "USD"


class NoPriceError(LookupError):
    """Something used has no price."""


def micros(moment):
    """Returns a time of the file in microseconds; YAML makes a datetime of it."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def shortest(text):
    """Returns a decimal string without what says nothing."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def address(document):
    """Returns the content address of a plain document."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class Prices:
    """All that one file says of money."""

    def __init__(self, text):
        plain = yaml.safe_load(text)
        self.books = [Book(one) for one in plain["price_books"]]
        self.rates = []
        for one in plain["exchange_rates"]:
            at = micros(one["effective"])
            document = {"base": one["base"], "quote": one["quote"], "rate": shortest(one["rate"]), "effective_us": at}
            self.rates.append((at, one["base"], one["quote"], Fraction(one["rate"]), address(document), one["rate"]))
        self.channels = {}
        for one in plain["channels"]:
            own = {model["name"]: model["cost"] for model in one["models"] if not isinstance(model, str)}
            self.channels[one["name"]] = (Fraction(one.get("cost_multiply", "1")), own, one["provider"])

    def book(self, at_us):
        """Returns the book in force."""
        best = None
        for book in self.books:
            if book.effective_us <= at_us and (best is None or book.effective_us > best.effective_us):
                best = book
        return best

    def rate(self, currency, at_us):
        """Returns (factor, address, decimal) from the books' currency; one, and no address, for itself."""
        if currency == HOME:
            return Fraction(1), "", ""
        best = None
        for rate in self.rates:
            if rate[1] == HOME and rate[2] == currency and rate[0] <= at_us and (best is None or rate[0] > best[0]):
                best = rate
        return best[3], best[4], best[5]

    def charge(self, use, currency):
        """Returns what a use comes to: a dictionary of amounts in pico-units, and which prices they came from."""
        book = self.book(use["started_us"])
        factor, rate_digest, _ = self.rate(currency, use["started_us"])
        said = {"price_digest": book.digest, "rate_digest": "", "currency": currency, "unpriced": False}
        said |= {"charge": 0, "cost": 0, "list_charge": 0, "provider_cost": 0, "units": use["units"]}
        if use["model"] not in book.models:
            return said | {"unpriced": True, "price_digest": "", "currency": ""}
        if not any(use["units"].values()):
            return said
        try:
            units = self.billed(use, book.units_of(use, use["group"]))
            paid = self._sum(units, book.units_of(use, use["group"]))
        except NoPriceError:
            return said | {"unpriced": True}
        cost = self._cost(use, book) if use["source"] == "router" else Fraction(0)
        return said | {
            "charge": pico(paid * factor),
            "cost": pico(cost * factor),
            "list_charge": pico(paid),
            "provider_cost": pico(cost),
            "rate_digest": rate_digest,
            "units": units,
        }

    def _cost(self, use, book):
        """Returns what the channel's account pays: its own price, a part of the list price, or else the list price."""
        multiply, own, _ = self.channels[use["channel"]]
        listed = book.units_of(use, "")
        first = {unit: multiply * price for unit, price in listed.items()}
        if use["model"] in own:
            first = {unit: Fraction(text) / per(unit) for unit, text in own[use["model"]].items()}
        for prices in (first, listed, book.units_of(use, use["group"])):
            try:
                return self._sum(self.billed(use, prices), prices)
            except NoPriceError:
                continue
        raise NoPriceError(use["model"])

    @staticmethod
    def billed(use, prices):
        """Returns the units that are paid for: of pictures either themselves or their tokens."""
        units = use["units"]
        if use["operation"] != "image":
            return units
        pictures = {unit: count for unit, count in units.items() if unit.split(":")[0] == "image"}
        tokens = {unit: count for unit, count in units.items() if unit in INPUT + OUTPUT}
        rest = {unit: count for unit, count in units.items() if unit not in pictures and unit not in tokens}
        if tokens:
            if tokens.get("image_output") and prices.get("image_output"):
                return tokens | rest
            if any(price_of(prices, unit) is None for unit in pictures):
                return tokens | rest
        kept = {}
        for unit, count in tokens.items():
            if unit in prices or (unit != "image_output" and price_of(prices, unit) is not None):
                kept[unit] = count
        return kept | pictures | rest

    @staticmethod
    def _sum(units, prices):
        total = Fraction(0)
        for unit, count in units.items():
            if count:
                price = price_of(prices, unit)
                if price is None:
                    raise NoPriceError(unit)
                total += count * price
        return total


class Book:
    """A price book as its YAML says it."""

    def __init__(self, plain):
        self.name, self.currency = plain["name"], plain["currency"]
        self.effective_us = micros(plain["effective"])
        self.models = plain["models"]
        self.groups = plain.get("groups", {})
        self.tiers = plain.get("tiers", {})
        self.digest = address(self._document())

    def _document(self):
        def models(given):
            return {name: {unit: shortest(text) for unit, text in units.items()} for name, units in given.items()}

        document = {
            "name": self.name,
            "effective_us": self.effective_us,
            "currency": self.currency,
            "models": models(self.models),
            "groups": {
                name: {"multiply": shortest(group.get("multiply", "1")), "models": models(group.get("models", {}))}
                for name, group in self.groups.items()
            },
        }
        if self.tiers:
            document["tiers"] = {
                model: [
                    {
                        name: shortest(value)
                        if name == "multiply"
                        else {unit: shortest(text) for unit, text in value.items()}
                        if name == "prices"
                        else value
                        for name, value in tier.items()
                    }
                    for tier in tiers
                ]
                for model, tiers in self.tiers.items()
            }
        return document

    def units_of(self, use, group):
        """Returns what one of each unit costs a group for this use, in the book's currency."""
        model, rule = use["model"], self.groups.get(group, {})
        own = rule.get("models", {}).get(model)
        if own is not None:
            return {unit: Fraction(text) / per(unit) for unit, text in own.items()}
        multiply = Fraction(rule.get("multiply", "1"))
        prices = {unit: Fraction(text) for unit, text in self.models[model].items()}
        for tier in self.tiers.get(model, ()):
            if holds(tier, use):
                changed = {unit: price * Fraction(tier.get("multiply", "1")) for unit, price in prices.items()}
                prices = changed | {unit: Fraction(text) for unit, text in tier.get("prices", {}).items()}
                break
        return {unit: price * multiply / per(unit) for unit, price in prices.items()}


def holds(tier, use):
    """Tells whether all conditions of a tier hold."""
    if "service" in tier and tier["service"] != use["service"]:
        return False
    if "context_over" in tier and sum(use["units"].get(unit, 0) for unit in INPUT) <= tier["context_over"]:
        return False
    if "hours" in tier:
        first, last = tier["hours"].split("-")
        now = f"{datetime.fromtimestamp(use['started_us'] // 10**6, UTC):%H:%M}"
        return first <= now < last if first < last else now >= first or now < last
    return True


def per(unit):
    """Returns for how many of a unit its price is."""
    return 10**6 if unit in INPUT + OUTPUT or unit == "character" else 1


def price_of(prices, unit):
    """Returns the price of one, or of what stands in for it; None without."""
    if unit in prices:
        return prices[unit]
    if unit == "request":
        return Fraction(0)
    if unit in INPUT or unit in OUTPUT:
        return prices.get("input" if unit in INPUT else "output")
    while ":" in unit:
        unit = unit.rpartition(":")[0]
        if unit in prices:
            return prices[unit]
    return None


def pico(amount):
    """Returns an amount in pico-units; of two that are equally near, the even one."""
    return round(amount * PICO)
