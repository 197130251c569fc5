"""New API's ratio settings: its options, each a map or JSON text of one, or the answer of /api/ratio_config.

One unit of quota is 1 / QuotaPerUnit USD; a model's ratio is units for a token.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from tollgate_resources.imports.reading import Entry, Imported, Unreadable, lines_of, read_json

_SETTINGS: Final = {
    "modelratio": "ModelRatio",
    "completionratio": "CompletionRatio",
    "cacheratio": "CacheRatio",
    "createcacheratio": "CreateCacheRatio",
    "modelprice": "ModelPrice",
    "imageratio": "ImageRatio",
    "audioratio": "AudioRatio",
    "audiocompletionratio": "AudioCompletionRatio",
    "groupratio": "GroupRatio",
    "billing_setting.billing_mode": "billing_mode",
}
_OTHERS: Final = {"GroupGroupRatio", "tool_price_setting.prices"}
# As `Name` of the models.
_GROUP: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PER_UNIT: Final = Decimal(500_000)
_MOST_UNITS: Final = 10**12
_MILLION: Final = 1_000_000
# What a write that lasts an hour costs in that gateway, as a multiple of one that lasts five minutes.
_HOUR: Final = Decimal("1.6")
_CREATE: Final = Decimal("1.25")
_PER_CALL_VIDEO: Final = ("sora", "veo", "kling", "vidu", "hailuo", "wan", "seedance", "jimeng")

Ratios = Mapping[str, Mapping[str, Any]]


def read_newapi(content: bytes) -> Imported:
    """Returns the models and groups of ratio settings, with what was said about them. Raises Unreadable."""
    plain = read_json(content)
    if isinstance(plain, dict) and isinstance(plain.get("data"), dict):
        plain = plain["data"]
    if isinstance(plain, list):
        plain = {str(one.get("key")): one.get("value") for one in plain if isinstance(one, dict)}
    if not isinstance(plain, dict):
        raise Unreadable("ratio settings are an object with ModelRatio, ModelPrice and so on")
    ratios, per_unit = _settings(plain)
    found = Imported()
    names = sorted({*ratios["ModelRatio"], *ratios["ModelPrice"]})
    if not names:
        raise Unreadable("neither ModelRatio nor ModelPrice has a model")
    lines = lines_of(content, [*names, *ratios["GroupRatio"]])
    for name in names:
        _model(Entry(name, lines[name], found), ratios, per_unit, found)
    for name, ratio in ratios["GroupRatio"].items():
        _group(Entry(name, lines[name], found, "group"), ratio, found)
    for name in _OTHERS.intersection(plain):
        Entry(name, 0, found, "setting").note("is not imported")
    return found


def _settings(plain: dict[str, Any]) -> tuple[Ratios, Decimal]:
    found: dict[str, Mapping[str, Any]] = {name: {} for name in _SETTINGS.values()}
    for key, value in plain.items():
        name = _SETTINGS.get(str(key).lower()) or _SETTINGS.get(str(key).lower().replace("_", ""))
        if name is None:
            continue
        ratios = value
        if isinstance(value, str):
            try:
                ratios = json.loads(value, parse_float=Decimal)
            except (ValueError, RecursionError) as error:
                raise Unreadable(f"{key} is text that is no JSON: {error}") from None
        if not isinstance(ratios, dict):
            raise Unreadable(f"{key} is a map of models to numbers")
        found[name] = ratios
    try:
        per_unit = Decimal(str(plain.get("QuotaPerUnit", _PER_UNIT)))
    except ArithmeticError:
        per_unit = Decimal(0)
    if not per_unit.is_finite() or not 1 <= per_unit <= _MOST_UNITS:
        raise Unreadable(f"QuotaPerUnit is {str(plain['QuotaPerUnit'])[:60]!r}, not a number from 1 to {_MOST_UNITS}")
    return found, per_unit


def _model(entry: Entry, ratios: Ratios, per_unit: Decimal, found: Imported) -> None:
    name = entry.name
    if ratios["billing_mode"].get(name) == "tiered_expr":
        entry.refuse("it is priced by an expression; write its tiers by hand")
        return
    prices = _per_call(entry, ratios) if name in ratios["ModelPrice"] else _per_token(entry, ratios, per_unit)
    if prices is not None and not entry.failed:
        found.models[name] = prices


def _per_call(entry: Entry, ratios: Ratios) -> dict[str, str] | None:
    price = entry.number("ModelPrice", ratios["ModelPrice"][entry.name])
    if price is None:
        return None
    text = entry.price("ModelPrice", price)
    if any(word in entry.name.lower() for word in _PER_CALL_VIDEO):
        entry.note("a video's price for a call is one for a second in that gateway: taken for `video`")
        return {"video": text}
    return {"request": text, "input": "0", "output": "0", "image": "0"}


def _per_token(entry: Entry, ratios: Ratios, per_unit: Decimal) -> dict[str, str] | None:
    name = entry.name
    ratio = entry.number("ModelRatio", ratios["ModelRatio"][name])
    if ratio is None:
        return None
    if name not in ratios["CompletionRatio"]:
        entry.refuse("CompletionRatio has no entry for it; that gateway has one built in: name it in the file")
        return None
    base = ratio * _MILLION / per_unit

    def times(setting: str, usual: Decimal | None) -> Decimal | None:
        if name not in ratios[setting]:
            return usual
        return entry.number(setting, ratios[setting][name])

    create = times("CreateCacheRatio", _CREATE if name in ratios["CacheRatio"] else None)
    audio, audio_out = times("AudioRatio", None), times("AudioCompletionRatio", Decimal(1))
    factors: dict[str, Decimal | None] = {
        "input": Decimal(1),
        "output": times("CompletionRatio", None),
        "cache_read": times("CacheRatio", None),
        "cache_write_5m": create,
        "cache_write_1h": None if create is None else create * _HOUR,
        "image_input": times("ImageRatio", None),
        "audio_input": audio,
        "audio_output": None if audio is None or audio_out is None else audio * audio_out,
    }
    return {unit: entry.price(unit, base * factor) for unit, factor in factors.items() if factor is not None}


def _group(entry: Entry, ratio: Any, found: Imported) -> None:
    factor = entry.number("GroupRatio", ratio)
    name = entry.name.lower()
    if not _GROUP.fullmatch(name):
        entry.refuse(
            "a price group's name is up to 63 letters, digits, '.', '_' and '-', and begins with a letter or digit"
        )
    if factor is None or entry.failed:
        return
    if name in found.groups:
        entry.refuse(f"there are two groups {name}")
        return
    multiply = entry.price("GroupRatio", factor)
    if multiply != "1":
        found.groups[name] = {"multiply": multiply}
