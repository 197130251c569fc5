"""What of a made picture is paid: the picture itself, or the tokens that the provider counted for it."""

from collections.abc import Iterable, Mapping

from tollgate_rating.errors import Unpriced
from tollgate_rating.price import ModelPrice

PICTURE_TOKENS = "image_output"


def image_unit(size: str, quality: str) -> str:
    """Returns the unit that a picture is priced by; an empty part leaves it out, with what comes after it."""
    return ":".join(["image", *([size, *([quality] if quality else [])] if size else [])])


def counts_pictures(price: ModelPrice | None, tokens: Mapping[str, int], drawn: Iterable[str]) -> bool:
    """Tells whether pictures, by their units in `drawn`, are units of the bill; their tokens are then none.

    They are not where the provider reports tokens, and a picture's tokens have a price of their own or pictures none.
    """
    if price is None or not tokens:
        return True
    named = price.names(PICTURE_TOKENS)
    # A price of 0 says that a picture's own price covers its tokens.
    if named and tokens.get(PICTURE_TOKENS) and price.unit_price(PICTURE_TOKENS) != "0":
        return False
    return all(_is_priced(price, unit) for unit in drawn)


def billed_tokens(price: ModelPrice | None, tokens: Mapping[str, int], *, by_picture: bool) -> Mapping[str, int]:
    """Returns the tokens that are units of the bill.

    Where pictures are paid, their own tokens are none of them, nor are tokens that the book has no price for: a book
    with nothing but the price of a picture is a whole one.
    """
    if not by_picture or price is None:
        return tokens
    return {
        unit: count
        for unit, count in tokens.items()
        if price.names(unit) or (unit != PICTURE_TOKENS and _is_priced(price, unit))
    }


def _is_priced(price: ModelPrice, unit: str) -> bool:
    try:
        price.rate({unit: 1})
    except Unpriced:
        return False
    return True
