"""Usage times price book gives money: pure, integer, total."""

from tollgate_rating.book import GroupRule, PriceBook
from tollgate_rating.cost import ChannelCost, first_rated
from tollgate_rating.decimals import INT64_MAX, MAX_CHARGE_PICO, PICO, format_decimal, parse_decimal
from tollgate_rating.errors import AmountOutOfRange, InvalidPrice, InvalidQuantity, NoRate, RatingError, Unpriced
from tollgate_rating.exchange import ExchangeRate, RateTable
from tollgate_rating.pictures import PICTURE_TOKENS, billed_tokens, counts_pictures, image_unit
from tollgate_rating.price import Line, ModelPrice
from tollgate_rating.prompts import BYTES_PER_TOKEN, embedded_files, prompt_tokens
from tollgate_rating.table import PriceTable
from tollgate_rating.tiers import PriceTier
from tollgate_rating.units import AUDIO_SECOND, CHARACTER, REQUEST, SEARCH, per

__all__ = [
    "AUDIO_SECOND",
    "BYTES_PER_TOKEN",
    "CHARACTER",
    "INT64_MAX",
    "MAX_CHARGE_PICO",
    "PICO",
    "PICTURE_TOKENS",
    "REQUEST",
    "SEARCH",
    "AmountOutOfRange",
    "ChannelCost",
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
    "billed_tokens",
    "counts_pictures",
    "embedded_files",
    "first_rated",
    "format_decimal",
    "image_unit",
    "parse_decimal",
    "per",
    "prompt_tokens",
]
