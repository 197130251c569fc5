"""Every way rating refuses.

RatingError
├── InvalidPrice      a price book that cannot be used (also a ValueError)
├── InvalidQuantity   a quantity that is negative or not an integer (also a ValueError)
├── Unpriced          a used unit for which the model has no price (also a LookupError)
├── NoRate            no exchange rate to the payer's currency is in force (also a LookupError)
└── AmountOutOfRange  an amount beyond MAX_CHARGE_PICO (also an OverflowError)
"""


class RatingError(Exception):
    """What all refusals of this package derive from."""


class InvalidPrice(RatingError, ValueError):  # noqa: N818
    """A price, unit, group rule or book that cannot be used; the message names it."""


class InvalidQuantity(RatingError, ValueError):  # noqa: N818
    """A quantity that is negative or not an integer."""


class Unpriced(RatingError, LookupError):  # noqa: N818
    """The model has no price for `unit`, or, without a unit, is in no book. Never taken for zero."""

    def __init__(self, model: str, unit: str = "") -> None:
        super().__init__(f"model {model!r} has no price" + (f" for unit {unit!r}" if unit else ""))
        self.model = model
        self.unit = unit


class NoRate(RatingError, LookupError):  # noqa: N818
    """No exchange rate from the price's currency to the payer's is in force. Never taken for one to one."""

    def __init__(self, base: str, quote: str) -> None:
        super().__init__(f"no exchange rate from {base} to {quote} is in force")
        self.base = base
        self.quote = quote


class AmountOutOfRange(RatingError, OverflowError):  # noqa: N818
    """The amount is more than one request may cost (MAX_CHARGE_PICO, some 9,223 of the currency)."""
