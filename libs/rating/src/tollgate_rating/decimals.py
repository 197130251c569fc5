"""Decimal strings to exact integers and back. A float never enters, so none can leave."""

import re

from tollgate_rating.errors import AmountOutOfRange, InvalidPrice

PICO = 10**12
INT64_MAX = 2**63 - 1
# The most that one request may cost, some 9,223 of the currency: edge admits nothing that may cost more, rating gives
# no such amount, and billing takes none. A thousand of these fit one transfer of the ledger.
MAX_CHARGE_PICO = INT64_MAX // 1000
# ASCII digits only: `\d` would let other scripts' digits into a content address.
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,12}))?")


def parse_decimal(text: object) -> int:
    """Returns `text`, a decimal string such as "1.25", in units of 1e-12.

    At most 12 digits before and 12 after the point. Raises InvalidPrice for anything else: numbers that are not
    strings, signs, exponents, leading zeros, blanks.
    """
    if not isinstance(text, str):
        raise InvalidPrice(f'a price is a decimal string such as "1.25", found {type(text).__name__} {text!r}')
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise InvalidPrice(f'a price is a decimal string such as "1.25", at most 12 decimals, found {text!r}')
    whole, fraction = found.groups()
    return int(whole) * PICO + int((fraction or "").ljust(12, "0"))


def format_decimal(value: int, places: int = 12) -> str:
    """Returns value × 10^-places as the shortest decimal string; "-" in front when negative."""
    whole, fraction = divmod(abs(value), 10**places)
    digits = str(fraction).rjust(places, "0").rstrip("0") if fraction else ""
    return f"{'-' if value < 0 else ''}{whole}{'.' if digits else ''}{digits}"


def divide_half_even(numerator: int, denominator: int) -> int:
    """Returns the integer nearest to numerator / denominator; of two equally near the even one."""
    quotient, rest = divmod(numerator, denominator)
    twice = rest + rest
    return quotient + 1 if twice > denominator or (twice == denominator and quotient & 1) else quotient


def in_range(amount_pico: int) -> int:
    """Returns the amount, or raises AmountOutOfRange when one request may not cost it."""
    if amount_pico > MAX_CHARGE_PICO:
        raise AmountOutOfRange(f"{format_decimal(amount_pico)} is more than one request may cost")
    return amount_pico
