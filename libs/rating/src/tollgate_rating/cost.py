"""What an account at a provider pays, beside the public price."""

from collections.abc import Iterable, Mapping
from typing import Final

from tollgate_rating.decimals import PICO
from tollgate_rating.errors import RatingError, Unpriced
from tollgate_rating.price import ModelPrice

# A configuration has few list prices; whoever makes them anew each time is not to fill the memory.
_MAX_FOUND: Final = 1_000


class ChannelCost:
    """What a channel's account pays: prices of its own by public model, or a factor (in 1e-12) on list prices.

    Its own prices are in the currency of the price book that they stand beside.
    """

    __slots__ = ("_found", "_multiply", "_own")

    def __init__(self, own: Mapping[str, ModelPrice], multiply: int) -> None:
        self._own = own
        self._multiply = multiply
        # By list price; the price is kept, so that its id stays its own.
        self._found: dict[int, tuple[ModelPrice, ModelPrice]] = {}

    def price(self, model: str, listed: ModelPrice | None) -> ModelPrice | None:
        """Returns what the account pays for a model whose list price is `listed`; None where nobody knows."""
        own = self._own.get(model)
        if listed is None or (own is None and self._multiply == PICO):
            return own or listed
        found = self._found.get(id(listed))
        if found is None:
            if len(self._found) >= _MAX_FOUND:
                self._found.clear()
            price = own.like(listed) if own is not None else listed.times(self._multiply)
            found = self._found[id(listed)] = listed, price
        return found[1]


def first_rated(
    prices: Iterable[ModelPrice | None], units: Mapping[str, int], at_us: int, service: str
) -> tuple[int, ModelPrice]:
    """Returns what the first price that knows all units says they cost (pico-units), and that price.

    Where an account has no price for a unit it pays the list's. Raises what the last of them raises.
    """
    problem: RatingError = Unpriced("")
    for price in prices:
        if price is None:
            continue
        try:
            return price.rate(units, at_us, service), price
        except RatingError as error:
            problem = error
    raise problem
