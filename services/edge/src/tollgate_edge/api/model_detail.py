"""What is known of a model beside its name, in the shape that OpenRouter's clients read; only where it is asked for."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from tollgate_edge.ports import EdgeModel
from tollgate_rating import ModelPrice, NoRate, PriceTable

_MILLION: Final = 1_000_000
_TOKEN_UNITS: Final = {
    "prompt": "input",
    "completion": "output",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write_5m",
    "internal_reasoning": "reasoning",
    "audio": "audio_input",
    "image_token": "image_output",
}
_INPUTS: Final = {"image_input": "image", "pdf_input": "file", "audio_input": "audio", "video_input": "video"}
_OUTPUTS: Final = {"image_output": "image", "audio_output": "audio"}
_USUAL: Final = ("max_tokens", "stop", "stream", "temperature", "top_p")
_PARAMETERS: Final = {
    "reasoning": ("reasoning_effort",),
    "structured_output": ("response_format", "structured_outputs"),
    "tools": ("tool_choice", "tools"),
    "web_search": ("web_search_options",),
}


def detail(model: EdgeModel, price: ModelPrice | None) -> dict[str, Any]:
    """Returns the members to add to an entry; a member is missing where nothing is known, never null."""
    inputs, outputs = _modalities(model)
    found: dict[str, Any] = {
        "name": model.name,
        "architecture": {
            "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
            "input_modalities": inputs,
            "output_modalities": outputs,
        },
        "abilities": list(model.abilities),
    }
    if model.context:
        found["context_length"] = model.context
    limits = {"context_length": model.context, "max_completion_tokens": model.max_output}
    if top := {name: value for name, value in limits.items() if value}:
        found["top_provider"] = top
    if model.mode == "chat":
        more = (name for ability in model.abilities for name in _PARAMETERS.get(ability, ()))
        found["supported_parameters"] = sorted((*_USUAL, *more))
    if model.aliases:
        found["aliases"] = list(model.aliases)
    if model.retires:
        found["expiration_date"] = model.retires
    if price is not None:
        found["pricing"] = {**_pricing(price), "currency": price.currency}
    return found


def price_of(table: PriceTable, model: str, group: str, at_us: int, currency: str) -> ModelPrice | None:
    """Returns what the caller pays now; None where no book says it in the caller's currency."""
    try:
        return table.find(model, group, at_us, currency)
    except NoRate:
        return None


def _modalities(model: EdgeModel) -> tuple[list[str], list[str]]:
    inputs = ["text", *(word for ability, word in _INPUTS.items() if ability in model.abilities)]
    if model.mode == "embedding":
        return inputs, ["embeddings"]
    if model.mode == "image":
        return inputs, ["image"]
    return inputs, ["text", *(word for ability, word in _OUTPUTS.items() if ability in model.abilities)]


def _pricing(price: ModelPrice) -> Mapping[str, str]:
    """Returns prices of one token, as decimal strings."""
    found = {
        name: format(Decimal(price.unit_price(unit)) / _MILLION, "f")
        for name, unit in _TOKEN_UNITS.items()
        if price.names(unit)
    }
    if price.names("request"):
        found["request"] = price.unit_price("request")
    return {name: _plain(value) for name, value in found.items()}


def _plain(value: str) -> str:
    return value.rstrip("0").rstrip(".") if "." in value else value
