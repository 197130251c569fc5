"""A price book: an immutable version of prices with an effective time and a content address."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tollgate_rating.decimals import PICO, format_decimal, parse_decimal
from tollgate_rating.errors import InvalidPrice
from tollgate_rating.exchange import check_currency
from tollgate_rating.price import ModelPrice
from tollgate_rating.tiers import ParsedTier, PriceTier, parse_tiers
from tollgate_rating.units import check_unit


@dataclass(frozen=True, slots=True)
class GroupRule:
    """What a price group pays: its own prices for the models in `models`, `multiply` times the book's for the rest."""

    multiply: str = "1"
    models: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class PriceBook:
    """One version of a series of books; the series is its `name`, the version its `effective_us`.

    `models` maps model → unit → decimal string, `tiers` model → what it costs otherwise. `digest` is "sha256:" of the
    canonical form, in which "1.50" and "1.5" are the same. Raises InvalidPrice, naming the model and unit, when
    anything in it cannot be used.
    """

    __slots__ = ("_models", "_multiply", "_overrides", "_tiers", "currency", "digest", "effective_us", "name")

    def __init__(
        self,
        *,
        name: str,
        effective_us: int,
        currency: str,
        models: Mapping[str, Mapping[str, str]],
        groups: Mapping[str, GroupRule] | None = None,
        tiers: Mapping[str, Sequence[PriceTier]] | None = None,
    ) -> None:
        if not name:
            raise InvalidPrice("a price book has a name")
        rules = groups or {}
        self.name = name
        self.effective_us = effective_us
        self.currency = check_currency(currency)
        self._models = _parse_models(models, f"book {name}")
        self._multiply = {group: _parse_multiply(rule, group) for group, rule in rules.items()}
        self._overrides = {group: _parse_models(rule.models, f"group {group}") for group, rule in rules.items()}
        self._tiers = _parse_tiers(tiers or {}, self._models, f"book {name}")
        self.digest = "sha256:" + hashlib.sha256(self.canonical()).hexdigest()

    def canonical(self) -> bytes:
        """Returns the book as JSON with sorted keys, no blanks and shortest decimals: what `digest` is taken of."""
        document: dict[str, Any] = {
            "name": self.name,
            "effective_us": self.effective_us,
            "currency": self.currency,
            "models": _plain(self._models),
            "groups": {
                group: {"multiply": format_decimal(multiply), "models": _plain(self._overrides[group])}
                for group, multiply in self._multiply.items()
            },
        }
        if self._tiers:
            # Left out where there are none, so that books keep the address that they had before there were tiers.
            document["tiers"] = {model: [tier.canonical for tier in tiers] for model, tiers in self._tiers.items()}
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_canonical(cls, document: bytes | str) -> "PriceBook":
        """Returns the book that `canonical` wrote. Raises InvalidPrice."""
        plain = json.loads(document)
        groups = {name: GroupRule(rule["multiply"], rule["models"]) for name, rule in plain.pop("groups").items()}
        tiers = {model: [PriceTier(**one) for one in found] for model, found in plain.pop("tiers", {}).items()}
        return cls(**plain, groups=groups, tiers=tiers)

    def models(self) -> frozenset[str]:
        """Returns the names of all models that some group can pay for."""
        return frozenset(self._models).union(*self._overrides.values())

    def groups(self) -> frozenset[str]:
        """Returns the names of the groups that have a rule."""
        return frozenset(self._multiply)

    def price(self, model: str, group: str) -> ModelPrice | None:
        """Returns the price of a model for a group; a group without a rule pays the book's. None: not in this book.

        A group's own prices for a model have no tiers; `multiply` is that of tiers too.
        """
        override = self._overrides.get(group, {}).get(model)
        prices = override if override is not None else self._models.get(model)
        if prices is None:
            return None
        return ModelPrice(
            model=model,
            book=self.name,
            digest=self.digest,
            currency=self.currency,
            prices=prices,
            multiply=PICO if override is not None else self._multiply.get(group, PICO),
            tiers=self._tiers.get(model, ()) if override is None else (),
        )


def _parse_models(models: Mapping[str, Mapping[str, str]], where: str) -> dict[str, dict[str, int]]:
    parsed: dict[str, dict[str, int]] = {}
    for model, prices in models.items():
        if not prices:
            raise InvalidPrice(f"{where}, model {model!r}: at least one unit has a price")
        parsed[model] = {}
        for unit, text in prices.items():
            try:
                parsed[model][check_unit(unit)] = parse_decimal(text)
            except InvalidPrice as error:
                raise InvalidPrice(f"{where}, model {model!r}, unit {unit!r}: {error}") from None
    return parsed


def _parse_tiers(
    tiers: Mapping[str, Sequence[PriceTier]], models: Mapping[str, object], book: str
) -> dict[str, tuple[ParsedTier, ...]]:
    for model in tiers:
        if model not in models:
            raise InvalidPrice(f"{book}, tiers of model {model!r}: the book has no price for it")
    return {model: parse_tiers(found, f"{book}, model {model!r}") for model, found in tiers.items() if found}


def _parse_multiply(rule: GroupRule, group: str) -> int:
    try:
        return parse_decimal(rule.multiply)
    except InvalidPrice as error:
        raise InvalidPrice(f"group {group!r}, multiply: {error}") from None


def _plain(models: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, str]]:
    return {model: {unit: format_decimal(price) for unit, price in prices.items()} for model, prices in models.items()}
