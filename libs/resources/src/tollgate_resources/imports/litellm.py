"""LiteLLM's cost map: model → fields with prices in USD per token, picture, second and so on."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from tollgate_rating import per
from tollgate_resources.imports.reading import Entry, Imported, Unreadable, lines_of, read_json

_UNITS: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_image_token": "image_output",
    "output_cost_per_image": "image",
    "input_cost_per_character": "character",
    "input_cost_per_second": "audio_second",
    "output_cost_per_video_per_second": "video",
    "input_cost_per_query": "request",
    "input_cost_per_request": "request",
}
_SAMPLE: Final = "sample_spec"
_OVER: Final = re.compile(r"(.+)_above_([1-9][0-9]*)k_tokens")
_SERVICE: Final = re.compile(r"(.+)_(flex|priority)")
_RESOLUTION: Final = re.compile(r"output_cost_per_second_([0-9]+p)")
_SEARCH: Final = "search_context_cost_per_query"
_SEARCH_SIZES: Final = ("search_context_size_low", "search_context_size_medium", "search_context_size_high")

Tier = tuple[int | None, str]


def read_litellm(content: bytes) -> Imported:
    """Returns the models of a cost map, with what was said about them. Raises Unreadable."""
    plain = read_json(content)
    if not isinstance(plain, dict) or not plain:
        raise Unreadable("a cost map is an object of models, each with its fields")
    found = Imported()
    lines = lines_of(content, plain)
    for name, fields in plain.items():
        if name != _SAMPLE:
            _model(Entry(name, lines[name], found), fields, found)
    return found


def _model(entry: Entry, fields: Any, found: Imported) -> None:
    if not isinstance(fields, dict):
        entry.refuse("a model is an object of fields")
        return
    usual: dict[str, str] = {}
    tiers: dict[Tier, dict[str, str]] = {}
    for field, value in fields.items():
        if value is not None and "cost" in field:
            _field(entry, field, value, fields, usual, tiers)
    if entry.failed:
        return
    if not usual:
        entry.refuse("no field with a price that is known") if tiers else entry.note("left out: it has no price")
        return
    if all(price == "0" for price in usual.values()):
        entry.note("every price is 0: it would be free")
    found.models[entry.name] = usual
    if tiers:
        found.tiers[entry.name] = [_tier(tier, tiers[tier]) for tier in sorted(tiers, key=_first)]


def _field(
    entry: Entry,
    field: str,
    value: Any,
    fields: Mapping[str, Any],
    usual: dict[str, str],
    tiers: dict[Tier, dict[str, str]],
) -> None:
    if field == _SEARCH:
        _search(entry, value, usual)
        return
    unit, tier = _meaning(field, fields)
    if unit is None:
        entry.note(f"{field} is not imported: there is no unit for it")
        return
    amount = entry.number(field, value)
    if amount is not None:
        prices = usual if tier is None else tiers.setdefault(tier, {})
        _set(entry, prices, unit, entry.price(field, amount * per(unit)))


def _meaning(field: str, fields: Mapping[str, Any]) -> tuple[str | None, Tier | None]:
    """Returns the unit of a field and the tier that it is the price of; (None, None) when neither is known."""
    base, over, service = field, None, ""
    if base not in _UNITS and (matched := _SERVICE.fullmatch(base)) is not None:
        base, service = matched[1], matched[2]
    if base not in _UNITS and (matched := _OVER.fullmatch(base)) is not None:
        base, over = matched[1], int(matched[2]) * 1_000
    if (matched := _RESOLUTION.fullmatch(base)) is not None:
        unit: str | None = f"video:{matched[1]}"
    elif base == "output_cost_per_second":
        unit = "video" if fields.get("mode") == "video_generation" else "audio_second"
    else:
        unit = _UNITS.get(base)
    return (None, None) if unit is None else (unit, (over, service) if over is not None or service else None)


def _search(entry: Entry, value: Any, usual: dict[str, str]) -> None:
    if not isinstance(value, dict):
        entry.refuse(f"{_SEARCH} is an object of sizes")
        return
    prices = {size: entry.number(size, value[size]) for size in _SEARCH_SIZES if value.get(size) is not None}
    known = [price for price in prices.values() if isinstance(price, Decimal)]
    if known:
        if len(set(known)) > 1:
            entry.note(f"{_SEARCH} differs by size; the dearest is taken")
        usual["search"] = entry.price(_SEARCH, max(known))


def _set(entry: Entry, prices: dict[str, str], unit: str, price: str) -> None:
    if prices.setdefault(unit, price) != price:
        entry.refuse(f"two fields price {unit}: {prices[unit]} and {price}")


def _first(tier: Tier) -> tuple[bool, int]:
    """A tier of service and a long context, then the longest context, then a tier of service alone."""
    over, service = tier
    return not service or over is None, -(over or 0)


def _tier(tier: Tier, prices: dict[str, str]) -> dict[str, Any]:
    over, service = tier
    conditions: dict[str, Any] = {"context_over": over} if over is not None else {}
    return conditions | ({"service": service} if service else {}) | {"prices": prices}
