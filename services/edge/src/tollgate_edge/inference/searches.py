"""What a chat can use beside tokens at the model that answers it, and whether there is a price for that."""

from typing import Final

from tollgate_edge.inference.asked import Asked
from tollgate_edge.ports import EdgeModel
from tollgate_rating import SEARCH, ModelPrice, Unpriced

__all__ = ["units_of"]

_ABLE: Final = "web_search"


def units_of(asked: Asked, found: EdgeModel | None, price: ModelPrice) -> tuple[tuple[str, int], ...]:
    """Returns the most that a chat can use of what is no token, where the model `found` answers it.

    A model that searches for every answer does so unasked. Raises Unpriced when the model may use a unit that `price`
    does not know, since then not even its tokens would be charged; a model that the catalogue knows, and knows not to
    search, uses none whatever is asked.
    """
    alone = 0 if found is None else found.searches
    if not (asked.units or alone) or found is None:
        return asked.units
    units = dict(asked.units)
    units[SEARCH] = max(units.get(SEARCH, 0), alone)
    if alone or not found.mode or _ABLE in found.abilities:
        for unit, most in units.items():
            if most and not price.knows((unit,)):
                raise Unpriced(found.name, unit)
    return tuple(units.items())
