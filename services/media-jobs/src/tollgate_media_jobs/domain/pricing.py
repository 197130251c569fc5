"""Money of a job: the worst case that is held before it, and what is charged after it."""

from collections.abc import Mapping

from tollgate_media_jobs.domain.ability import AUTO, Ability
from tollgate_media_jobs.domain.job import ImageRequest, Reported
from tollgate_rating import ModelPrice, Unpriced

# Wrapping that a provider may add around a prompt.
_EXTRA_INPUT_TOKENS = 256


def image_unit(size: str, quality: str) -> str:
    """Returns the unit that a picture is priced by; an empty part leaves it out, with what comes after it."""
    return ":".join(["image", *([size, *([quality] if quality else [])] if size else [])])


def worst_case(price: ModelPrice, image: ImageRequest, ability: Ability) -> int | None:
    """Returns the most that the request can cost in pico-units; None when the price knows no unit of it.

    A token is at least one byte of UTF-8. Where the model chooses size or quality, the dearest counts.
    """
    inputs = _rate(price, {"input": len(image.prompt.encode()) + _EXTRA_INPUT_TOKENS})
    tokens = _rate(price, {"image_output": image.count * ability.output_tokens})
    pictures = [
        cost
        for size in ability.priced_sizes(image.size)
        for quality in ability.priced_qualities(image.quality)
        if (cost := _rate(price, {image_unit(size, quality): image.count})) is not None
    ]
    outputs = [cost for cost in (tokens, max(pictures, default=None)) if cost is not None]
    # Parts are rounded on their own, each by less than one.
    return sum(outputs) + (inputs or 0) + 3 if outputs else None


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


def counts_pictures(price: ModelPrice | None, reported: Reported) -> bool:
    """Tells whether pictures are units of the bill: not where the provider counts tokens and only they are priced."""
    return not reported.tokens or price is None or _rate(price, {"image": 1}) is not None
