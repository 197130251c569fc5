"""The price of one model for one price group, compiled to integers: what the hot path calls."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd

from tollgate_rating.decimals import INT64_MAX, MAX_CHARGE_PICO, PICO, divide_half_even, format_decimal, in_range
from tollgate_rating.errors import InvalidPrice, InvalidQuantity, Unpriced
from tollgate_rating.exchange import ExchangeRate
from tollgate_rating.tiers import Conditions, ParsedTier
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

    `prices` maps units to 1e-12 of the currency (per 1,000,000 for token units), `multiply` is in 1e-12. Of `tiers`
    the first whose conditions hold decides. `exchange` is the rate that the book's prices were converted by; None where
    they are the book's own.
    """

    __slots__ = (
        "_converted",
        "_dearest",
        "_denominator",
        "_multiply",
        "_named",
        "_numerators",
        "_own",
        "_parsed_tiers",
        "_prices",
        "_scale",
        "_tiers",
        "_unconverted",
        "book",
        "currency",
        "digest",
        "exchange",
        "model",
    )

    def __init__(
        self,
        *,
        model: str,
        book: str,
        digest: str,
        currency: str,
        prices: Mapping[str, int],
        multiply: int = PICO,
        tiers: Sequence[ParsedTier] = (),
        scale: int = 1,
        converted: "tuple[ModelPrice, ExchangeRate] | None" = None,
    ) -> None:
        self.model = model
        self.book = book
        self.digest = digest
        self.currency = currency
        self._prices = dict(prices)
        self._named = frozenset(prices)
        self._own = prices
        self._parsed_tiers = tuple(tiers)
        self._unconverted: ModelPrice | None = None if converted is None else converted[0]
        self.exchange: ExchangeRate | None = None if converted is None else converted[1]
        self._converted: dict[str, ModelPrice] = {}
        self._multiply = multiply
        # Prices are in 1e-12 / scale.
        self._scale = scale
        # A fee per request is an extra: a model whose prices do not name one has none.
        self._prices.setdefault(REQUEST, 0)
        for unit in TOKEN_UNITS:
            for other in stand_ins(unit):
                if unit not in prices and other in prices:
                    self._prices[unit] = prices[other]
        exact = {unit: price * multiply * (MILLION // per(unit)) for unit, price in self._prices.items()}
        denominator = MILLION * PICO * scale
        # Published prices are whole pico-units per token, so that this leaves small integers over 1.
        divisor = gcd(denominator, *exact.values())
        self._denominator = denominator // divisor
        self._numerators = {unit: value // divisor for unit, value in exact.items()}
        self._dearest = (
            max(self._numerators.get(unit, 0) for unit in INPUT_UNITS),
            max(self._numerators.get(unit, 0) for unit in OUTPUT_UNITS),
            self._numerators[REQUEST],
        )
        self._tiers: tuple[tuple[Conditions, ModelPrice], ...] = tuple(
            (tier.conditions, self._in_tier(tier, prices)) for tier in tiers
        )

    def _in_tier(self, tier: ParsedTier, prices: Mapping[str, int]) -> "ModelPrice":
        usual = {unit: price * tier.multiply for unit, price in prices.items()}
        own = {unit: price * PICO for unit, price in tier.prices.items()}
        return ModelPrice(
            model=self.model,
            book=self.book,
            digest=self.digest,
            currency=self.currency,
            prices=usual | own,
            multiply=self._multiply,
            scale=self._scale * PICO,
        )

    def times(self, multiply: int) -> "ModelPrice":
        """Returns the price at `multiply` times 1e-12 of itself, tiers included."""
        if self.exchange is None:
            return self._times(multiply, self.currency)
        return self.unconverted.times(multiply).converted(self.exchange)

    def converted(self, exchange: ExchangeRate) -> "ModelPrice":
        """Returns the price in `exchange.quote`, exactly: amounts are rounded once, after the conversion.

        Raises InvalidPrice when the rate is from another currency than the price's.
        """
        if exchange.base != self.currency:
            raise InvalidPrice(f"a price in {self.currency} is not converted by a rate from {exchange.base}")
        known = self._converted.get(exchange.digest)
        if known is None:
            known = self._converted[exchange.digest] = self._times(exchange.rate, exchange.quote, exchange)
        return known

    def like(self, other: "ModelPrice") -> "ModelPrice":
        """Returns the price as in the currency of `other`'s book, and converted as `other` is."""
        own = self if self.currency == other.unconverted.currency else self._times(PICO, other.unconverted.currency)
        return own if other.exchange is None else own.converted(other.exchange)

    @property
    def unconverted(self) -> "ModelPrice":
        """The price as its book says it; itself where nothing was converted."""
        return self if self._unconverted is None else self._unconverted

    @property
    def rate_digest(self) -> str:
        """The content address of the exchange rate; empty where nothing was converted."""
        return "" if self.exchange is None else self.exchange.digest

    def _times(self, multiply: int, currency: str, exchange: ExchangeRate | None = None) -> "ModelPrice":
        return ModelPrice(
            model=self.model,
            book=self.book,
            digest=self.digest,
            currency=currency,
            prices={unit: price * multiply for unit, price in self._own.items()},
            multiply=self._multiply,
            tiers=[
                ParsedTier(tier.conditions, {u: p * multiply for u, p in tier.prices.items()}, tier.multiply, {})
                for tier in self._parsed_tiers
            ],
            scale=self._scale * PICO,
            converted=None if exchange is None else (self, exchange),
        )

    def rate(self, units: Mapping[str, int], at_us: int = 0, service: str = "") -> int:
        """Returns what the units cost, in pico-units, rounded half-even once over the sum.

        `at_us` is when the request began (microseconds since the epoch), `service` the tier of service that the
        provider reports. A unit used 0 times needs no price. Raises Unpriced, InvalidQuantity or AmountOutOfRange; that
        one of a converted price for the amount before its conversion, too, since both are said of a request.
        """
        price = self.tier(units, at_us, service) if self._tiers else self
        amount = in_range(divide_half_even(price._exact(units), price._denominator))  # noqa: SLF001 - of our own kind.
        # Only what is near the bound or beyond it is rated twice.
        if self.exchange is not None and (amount + 1) * PICO > MAX_CHARGE_PICO * self.exchange.rate:
            self.unconverted.rate(units, at_us, service)
        return amount

    def tier(self, units: Mapping[str, int], at_us: int, service: str = "") -> "ModelPrice":
        """Returns the price that is in force for this usage: that of a tier, or this one."""
        for conditions, price in self._tiers:
            if conditions.hold(units, at_us, service):
                return price
        return self

    def plain(self, units: Sequence[str], service: str = "") -> tuple[int, tuple[int | None, ...]] | None:
        """Returns a denominator and, over it, what one of each unit costs in pico-units; None for one without a price.

        The sum of quantities times these is exact, and `rate` is it where it is whole. None in place of all where it
        depends on the usage or its time which tier is in force; `service` is the tier of service.
        """
        for conditions, price in self._tiers:
            known = conditions.known_for(service)
            if known is None:
                return None
            if known:
                return price.plain(units)
        numerators = self._numerators
        costs = (
            next((numerators[name] for name in (unit, *stand_ins(unit)) if name in numerators), None) for unit in units
        )
        return self._denominator, tuple(costs)

    def lines(self, units: Mapping[str, int], at_us: int = 0, service: str = "") -> tuple[Line, ...]:
        """Returns one line per used unit; their amounts add up to exactly `rate` of the same. Raises what it raises.

        The request itself has one where the book has a price for it.
        """
        self.rate(units, at_us, service)
        price = self.tier(units, at_us, service)
        if price is not self:
            return price.lines(units)
        lines: list[Line] = []
        before, running = 0, 0
        for unit, quantity in units.items():
            if not quantity or (unit == REQUEST and not self.names(REQUEST)):
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
        # The scale is a power of ten.
        places = 24 + len(str(self._scale)) - 1
        return format_decimal(self._price(unit) * self._multiply, places=places)

    def knows(self, units: Iterable[str]) -> bool:
        """Tells whether each of these units has a price, its own or one that stands in for it."""
        return all(any(name in self._numerators for name in (unit, *stand_ins(unit))) for unit in units)

    def worst_case(self, input_tokens: int, output_tokens: int, others: Sequence[tuple[str, int]] = ()) -> int:
        """Returns the most one request can cost, in pico-units, whatever kind of token and tier they turn out to be.

        `others` are units that are no tokens, and the most of each: a unit stands for its kinds as well (`search` for
        `search:high`), at the dearest price. The fee of a request is counted without. Rounded up, so that `rate` of any
        such usage is never more; INT64_MAX where that would be. What has no price adds nothing, since `rate` refuses
        it. Raises InvalidQuantity for less than no tokens.
        """
        if input_tokens < 0 or output_tokens < 0:
            raise InvalidQuantity(f"{input_tokens} and {output_tokens} tokens")
        into, out, fee = self._dearest
        total = into * input_tokens + out * output_tokens + fee
        for unit, quantity in others:
            total += self._dearest_of(unit) * quantity
        most = min(-(-total // self._denominator), INT64_MAX)
        for _, price in self._tiers:
            most = max(most, price.worst_case(input_tokens, output_tokens, others))
        return most

    def _dearest_of(self, unit: str) -> int:
        known, kinds = self._numerators, f"{unit}:"
        own = next((known[name] for name in (unit, *stand_ins(unit)) if name in known), 0)
        return max(own, max((price for name, price in known.items() if name.startswith(kinds)), default=0))

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
