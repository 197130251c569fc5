"""Price lists of other gateways: whatever is in them, what is imported is a price book, or nothing is."""

import json
from random import Random
from typing import Any, Final

from tests.fuzz.cases import Case, spoil
from tollgate_resources import PriceBook
from tollgate_resources.imports import Imported, Unreadable, read_litellm, read_newapi

_FIELDS: Final = [
    "input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost", "output_cost_per_image",
    "input_cost_per_token_above_200k_tokens", "input_cost_per_token_flex", "output_cost_per_second_720p",
    "input_cost_per_token_above_128k_tokens_priority", "search_context_cost_per_query", "mode", "odd_cost",
]  # fmt: skip
_SETTINGS: Final = [
    "ModelRatio", "CompletionRatio", "CacheRatio", "CreateCacheRatio", "ModelPrice", "AudioRatio", "GroupRatio",
    "QuotaPerUnit", "data", "ImageRatio",
]  # fmt: skip
_VALUES: Final[list[Any]] = [
    0, 1, 1e-6, 2.5e-7, 0.1, 37.5, 1e-300, 1e300, 10**12, -1, True,
    None, "1", "", {}, [], {"search_context_size_low": 1},
]  # fmt: skip
_NAMES: Final = ["m", "gpt-4o", "sora-2", "a b", "", "x" * 201, "\ud800", "名", "VIP"]
_SPICES: Final = [b'"', b"{", b"}", b",", b":", b"null", b"NaN", b"1e9999", b"-", b".", b"\xff", b"\\ud800", b"\\u0000"]


class PriceListsTarget:
    """A cost map and ratio settings, whole or spoilt."""

    cost = 2

    def draw(self, source: Random) -> Case:
        def entries(inner: Any) -> dict[str, Any]:
            return {source.choice(_NAMES): inner() for _ in range(source.randint(0, 4))}

        def fields() -> Any:
            names = source.sample(_FIELDS, source.randint(0, 4))
            return {name: source.choice(_VALUES) for name in names} if source.random() < 0.9 else source.choice(_VALUES)

        settings: dict[str, Any] = {}
        for name in source.sample(_SETTINGS, source.randint(1, len(_SETTINGS))):
            value = entries(lambda: source.choice(_VALUES))
            settings[name] = json.dumps(value) if source.random() < 0.2 else value
            if source.random() < 0.1:
                settings[name] = source.choice(_VALUES)
        rows = [{"key": name, "value": value} for name, value in settings.items()]
        ratios: Any = rows if source.random() < 0.2 else settings
        return {
            "litellm": spoil(source, json.dumps(entries(fields)).encode(), _SPICES, most=2),
            "newapi": spoil(source, json.dumps(ratios).encode(), _SPICES, most=2),
        }

    def check(self, case: Case) -> None:
        for name, reader in (("litellm", read_litellm), ("newapi", read_newapi)):
            try:
                found = reader(case[name])
            except Unreadable:
                continue
            _check(found)

    def close(self) -> None:
        pass


def _check(found: Imported) -> None:
    assert all(remark.text and remark.line >= 0 for remark in found.remarks), "a remark without a word"
    assert not {remark.entry for remark in found.errors} & found.models.keys(), "refused and imported"
    if found.models:
        book = PriceBook.model_validate(found.book("public", "2026-01-01T00:00:00Z")).rated()
        assert book.models() == set(found.models), "a model is lost"
