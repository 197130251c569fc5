"""Exchange rates: what one unit of a currency costs in another, in versions that come into force at a time."""

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

from tollgate_rating.decimals import format_decimal, parse_decimal
from tollgate_rating.errors import InvalidPrice

_CURRENCY: Final = re.compile(r"[A-Z]{3}")


def check_currency(currency: object) -> str:
    """Returns the currency, or raises InvalidPrice when it is not three capital letters."""
    if isinstance(currency, str) and _CURRENCY.fullmatch(currency):
        return currency
    raise InvalidPrice(f"currency is three capital letters such as USD, found {currency!r}")


class ExchangeRate:
    """One version of the rate from `base` to `quote`: one unit of `base` is `rate` (in 1e-12) units of `quote`.

    `digest` is "sha256:" of the canonical form, in which "7.10" and "7.1" are the same. Raises InvalidPrice.
    """

    __slots__ = ("base", "digest", "effective_us", "quote", "rate")

    def __init__(self, *, base: str, quote: str, rate: str, effective_us: int) -> None:
        self.base = check_currency(base)
        self.quote = check_currency(quote)
        if base == quote:
            raise InvalidPrice(f"an exchange rate is between two currencies, found {base} twice")
        self.rate = parse_decimal(rate)
        if not self.rate:
            raise InvalidPrice(f"the exchange rate from {base} to {quote} is above 0")
        self.effective_us = effective_us
        self.digest = "sha256:" + hashlib.sha256(self.canonical()).hexdigest()

    def canonical(self) -> bytes:
        """Returns the rate as JSON with sorted keys, no blanks and the shortest decimal: what `digest` is taken of."""
        document: dict[str, Any] = {
            "base": self.base,
            "effective_us": self.effective_us,
            "quote": self.quote,
            "rate": format_decimal(self.rate),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_canonical(cls, document: bytes | str) -> "ExchangeRate":
        """Returns the rate that `canonical` wrote. Raises InvalidPrice."""
        return cls(**json.loads(document))


class RateTable:
    """Finds exchange rates. A rate holds in its own direction only: the way back is another rate.

    Raises InvalidPrice when two of a pair become effective at one time.
    """

    def __init__(self, rates: Iterable[ExchangeRate] = ()) -> None:
        self._by_digest = {rate.digest: rate for rate in rates}
        self._pairs: dict[tuple[str, str], list[ExchangeRate]] = {}
        for rate in sorted(self._by_digest.values(), key=lambda rate: rate.effective_us):
            self._pairs.setdefault((rate.base, rate.quote), []).append(rate)
        for (base, quote), versions in self._pairs.items():
            for older, newer in pairwise(versions):
                if older.effective_us == newer.effective_us:
                    raise InvalidPrice(
                        f"two different rates from {base} to {quote} become effective at {newer.effective_us}"
                    )

    def find(self, base: str, quote: str, at_us: int) -> ExchangeRate | None:
        """Returns the rate in force at `at_us` (microseconds since the epoch), or None."""
        versions = self._pairs.get((base, quote), [])
        position = bisect_right(versions, at_us, key=lambda rate: rate.effective_us)
        return versions[position - 1] if position else None

    def all(self) -> list[ExchangeRate]:
        """Returns every rate, by pair and time."""
        return [rate for pair in sorted(self._pairs) for rate in self._pairs[pair]]

    def starts(self) -> set[int]:
        """Returns every moment at which some rate comes into force."""
        return {rate.effective_us for rate in self._by_digest.values()}
