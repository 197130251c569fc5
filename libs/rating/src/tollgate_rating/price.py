"""The price of one model for one price group, compiled to integers: what the hot path calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

from tollgate_rating.decimals import INT64_MAX, PICO, divide_half_even, format_decimal, in_range
from tollgate_rating.errors import InvalidQuantity, Unpriced
from tollgate_rating.units import INPUT_UNITS, MILLION, OUTPUT_UNITS, REQUEST, TOKEN_UNITS, per, stand_ins


@dataclass(frozen=True, slots=True)
class Line:
    """One unit of a bill. `price` is the decimal string after the group's rule, for `per` of the unit."""

    unit: str
    quantity: int
    price: str
    amount_pico: int
    per: int


class ModelPrice:
    """Rates usage of one model. Immutable; `digest` is the content address of the book it comes from.

    `prices` maps units to 1e-12 of the currency (per 1,000,000 for token units), `multiply` is in 1e-12.
    """

    __slots__ = (
        "_dearest",
        "_denominator",
        "_multiply",
        "_named",
        "_numerators",
        "_prices",
        "book",
        "currency",
        "digest",
        "model",
    )

    def __init__(
        self, *, model: str, book: str, digest: str, currency: str, prices: Mapping[str, int], multiply: int = PICO
    ) -> None:
        self.model = model
        self.book = book
        self.digest = digest
        self.currency = currency
        self._prices = dict(prices)
        self._named = frozenset(prices)
        self._multiply = multiply
        # A fee per request is an extra: a model whose prices do not name one has none.
        self._prices.setdefault(REQUEST, 0)
        for unit in TOKEN_UNITS:
            for other in stand_ins(unit):
                if unit not in prices and other in prices:
                    self._prices[unit] = prices[other]
        exact = {unit: price * multiply * (MILLION // per(unit)) for unit, price in self._prices.items()}
        denominator = MILLION * PICO
        # Published prices are whole pico-units per token, so that this leaves small integers over 1.
        divisor = gcd(denominator, *exact.values())
        self._denominator = denominator // divisor
        self._numerators = {unit: value // divisor for unit, value in exact.items()}
        self._dearest = (
            max(self._numerators.get(unit, 0) for unit in INPUT_UNITS),
            max(self._numerators.get(unit, 0) for unit in OUTPUT_UNITS),
            self._numerators[REQUEST],
        )

    def rate(self, units: Mapping[str, int]) -> int:
        """Returns what the units cost, in pico-units, rounded half-even once over the sum.

        A unit used 0 times needs no price. Raises Unpriced, InvalidQuantity or AmountOutOfRange.
        """
        return in_range(divide_half_even(self._exact(units), self._denominator))

    def lines(self, units: Mapping[str, int]) -> tuple[Line, ...]:
        """Returns one line per used unit; their amounts add up to exactly `rate(units)`. Raises what `rate` raises."""
        lines: list[Line] = []
        before, running = 0, 0
        in_range(divide_half_even(self._exact(units), self._denominator))
        for unit, quantity in units.items():
            if not quantity:
                continue
            running += self._numerator(unit) * quantity
            upto = divide_half_even(running, self._denominator)
            lines.append(Line(unit, quantity, self.unit_price(unit), upto - before, per(unit)))
            before = upto
        return tuple(lines)

    def names(self, unit: str) -> bool:
        """Tells whether the book gives this very unit a price, 0 included; one that stands in for it does not count."""
        return unit in self._named

    def unit_price(self, unit: str) -> str:
        """Returns the decimal string charged for `per(unit)` of the unit, after the group's rule. Raises Unpriced."""
        return format_decimal(self._price(unit) * self._multiply, places=24)

    def worst_case(self, input_tokens: int, output_tokens: int) -> int:
        """Returns the most one request can cost, in pico-units, whatever kind of token they turn out to be.

        Rounded up, so that `rate` of any such usage is never more; INT64_MAX where that would be. A side without any
        price adds nothing, since `rate` refuses such tokens. Raises InvalidQuantity for less than no tokens.
        """
        if input_tokens < 0 or output_tokens < 0:
            raise InvalidQuantity(f"{input_tokens} and {output_tokens} tokens")
        into, out, fee = self._dearest
        total = into * input_tokens + out * output_tokens + fee
        return min(-(-total // self._denominator), INT64_MAX)

    def _exact(self, units: Mapping[str, int]) -> int:
        """Returns the cost as a numerator over `_denominator`."""
        total = 0
        known = self._numerators
        for unit, quantity in units.items():
            if quantity > 0:
                total += (known[unit] if unit in known else self._numerator(unit)) * quantity
            elif quantity:
                raise InvalidQuantity(f"{unit} is used {quantity} times")
        if type(total) is not int:
            raise InvalidQuantity("quantities are integers")
        return total

    def _numerator(self, unit: str) -> int:
        known = self._numerators.get(unit)
        if known is not None:
            return known
        for other in stand_ins(unit):
            if other in self._numerators:
                return self._numerators[other]
        raise Unpriced(self.model, unit)

    def _price(self, unit: str) -> int:
        for name in (unit, *stand_ins(unit)):
            if name in self._prices:
                return self._prices[name]
        raise Unpriced(self.model, unit)
