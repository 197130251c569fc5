"""Money of a job: the worst case that is held before it, and what is charged after it."""

from collections.abc import Mapping

from tollgate_media_jobs.domain.ability import AUTO, Ability
from tollgate_media_jobs.domain.job import ImageRequest, Reported
from tollgate_rating import (
    MAX_CHARGE_PICO,
    PICTURE_TOKENS,
    REQUEST,
    AmountOutOfRange,
    ModelPrice,
    Unpriced,
    format_decimal,
    image_unit,
)

# Wrapping that a provider may add around a prompt.
_EXTRA_INPUT_TOKENS = 256
_BYTES_PER_TOKEN = 4
# Of a picture that is looked at: the most that was seen is 6,240, at high fidelity.
_MOST_SOURCE_TOKENS = 8192


def worst_case(price: ModelPrice, image: ImageRequest, ability: Ability) -> int | None:
    """Returns the most that the request can cost in pico-units; None when the price knows no unit of it.

    A token is at least one byte of UTF-8. Where the model chooses size or quality, the dearest counts; so it does
    between a picture and its tokens, of which one is charged. Raises AmountOutOfRange when it is more than one request
    may cost, in the currency of its price or in that of who pays.
    """
    if price.exchange is not None:
        worst_case(price.unconverted, image, ability)
    inputs = _rate(price, {"input": len(image.prompt.encode()) + _EXTRA_INPUT_TOKENS})
    looked_at = _rate(price, {"image_input": len(image.sources) * _MOST_SOURCE_TOKENS}) if image.sources else None
    tokens = _rate(price, {PICTURE_TOKENS: image.count * ability.output_tokens})
    pictures = [
        cost
        for size in ability.priced_sizes(image.size)
        for quality in ability.priced_qualities(image.quality)
        if (cost := _rate(price, {image_unit(size, quality): image.count})) is not None
    ]
    outputs = [cost for cost in (tokens, max(pictures, default=None)) if cost is not None]
    if not outputs:
        return None
    # Parts are rounded on their own, each by less than one; a request without a fee costs 0.
    fee = price.rate({REQUEST: 1})
    most = max(outputs) + (inputs or 0) + (0 if looked_at is None else looked_at + 1) + fee + 3
    if most > MAX_CHARGE_PICO:
        raise AmountOutOfRange(f"{format_decimal(most)} is more than one request may cost")
    return most


def expected_tokens(image: ImageRequest, ability: Ability) -> int:
    """Returns what a job counts as in limits of tokens until its end: a usual text, and the most that pictures take."""
    prompt = len(image.prompt.encode()) // _BYTES_PER_TOKEN + 1
    return prompt + len(image.sources) * _MOST_SOURCE_TOKENS + image.count * ability.output_tokens


def _rate(price: ModelPrice, units: Mapping[str, int]) -> int | None:
    try:
        return price.rate(units)
    except Unpriced:
        return None


def drawn_as(image: ImageRequest, reported: Reported, width: int, height: int) -> tuple[str, str]:
    """Returns the size and quality that a picture is priced by.

    What the provider reports comes first; then what was asked for, since that is the bucket it bills; then the picture.
    """
    asked = image.size if image.size != AUTO else ""
    quality = image.quality if image.quality != AUTO else ""
    reported_quality = reported.quality if reported.quality != AUTO else ""
    return reported.size or asked or f"{width}x{height}", reported_quality or quality
