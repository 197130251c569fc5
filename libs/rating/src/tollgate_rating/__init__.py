"""Usage times price book gives money: pure, integer, total."""

from tollgate_rating.book import GroupRule, PriceBook
from tollgate_rating.decimals import INT64_MAX, MAX_CHARGE_PICO, PICO, format_decimal, parse_decimal
from tollgate_rating.errors import AmountOutOfRange, InvalidPrice, InvalidQuantity, NoRate, RatingError, Unpriced
from tollgate_rating.exchange import ExchangeRate, RateTable
from tollgate_rating.price import Line, ModelPrice
from tollgate_rating.table import PriceTable
from tollgate_rating.tiers import PriceTier
from tollgate_rating.units import AUDIO_SECOND, CHARACTER, REQUEST, SEARCH, per

__all__ = [
    "AUDIO_SECOND",
    "CHARACTER",
    "INT64_MAX",
    "MAX_CHARGE_PICO",
    "PICO",
    "REQUEST",
    "SEARCH",
    "AmountOutOfRange",
    "ExchangeRate",
    "GroupRule",
    "InvalidPrice",
    "InvalidQuantity",
    "Line",
    "ModelPrice",
    "NoRate",
    "PriceBook",
    "PriceTable",
    "PriceTier",
    "RateTable",
    "RatingError",
    "Unpriced",
    "format_decimal",
    "parse_decimal",
    "per",
]
