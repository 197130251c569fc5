"""What differs between two price books, price by price."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from tollgate_resources.models import PriceBook, PriceTier


@dataclass(frozen=True, slots=True)
class PriceChange:
    """One price; None where a book has none. `where` is empty for the usual price, else names a tier or group."""

    model: str
    where: str
    unit: str
    old: str | None
    new: str | None

    @property
    def percent(self) -> str | None:
        """How much more it is, such as +12.5 or -50; None where there is nothing to compare."""
        if self.old is None or self.new is None or not Decimal(self.old):
            return None
        change = (Decimal(self.new) / Decimal(self.old) - 1) * 100
        return f"{change:+.4f}".rstrip("0").rstrip(".")


def price_diff(old: PriceBook, new: PriceBook) -> list[PriceChange]:
    """Returns every price that is not the same in both, in the order of models."""
    before, after = _flat(old), _flat(new)
    return [
        PriceChange(*key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if _value(before.get(key)) != _value(after.get(key))
    ]


def _value(price: str | None) -> Decimal | None:
    return None if price is None else Decimal(price)


def _flat(book: PriceBook) -> dict[tuple[str, str, str], str]:
    found: dict[tuple[str, str, str], str] = {}

    def put(model: str, where: str, prices: Mapping[str, str]) -> None:
        found.update({(model, where, unit): price for unit, price in prices.items()})

    for model, prices in book.models.items():
        put(model, "", prices)
    for model, tiers in book.tiers.items():
        for tier in tiers:
            put(model, _conditions(tier), {**tier.prices, **({"×": tier.multiply} if tier.multiply != "1" else {})})
    for group, rule in book.groups.items():
        if rule.multiply != "1":
            found["", f"group {group}", "×"] = rule.multiply
        for model, prices in rule.models.items():
            put(model, f"group {group}", prices)
    return found


def _conditions(tier: PriceTier) -> str:
    said = [
        f"over {tier.context_over} tokens" if tier.context_over is not None else "",
        f"service {tier.service}" if tier.service else "",
        f"{tier.hours} UTC" if tier.hours else "",
    ]
    return ", ".join(part for part in said if part)
