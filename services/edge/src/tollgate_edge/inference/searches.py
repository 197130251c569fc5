"""What a chat can use beside tokens at the model that answers it, and whether there is a price for that."""

from typing import Final

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.asked import Asked
from tollgate_edge.ports import EdgeModel
from tollgate_rating import SEARCH, ModelPrice, Unpriced

__all__ = ["CHATTING", "units_of"]

# A legacy completion becomes a chat where the provider has nothing else.
CHATTING: Final = frozenset((wire.OPERATION_CHAT, wire.OPERATION_COMPLETION))
_ABLE: Final = "web_search"
_SEARCHES: Final = frozenset((SEARCH, "tool_call:x_search", "tool_call:google_maps"))


def units_of(asked: Asked, found: EdgeModel | None, price: ModelPrice) -> tuple[tuple[str, int], ...]:
    """Returns the most that a chat can use of what is no token, where the model `found` answers it.

    A model that searches for every answer does so unasked. Raises Unpriced when the model may use a unit that `price`
    does not know, since then not even its tokens would be charged.
    """
    alone = 0 if found is None else found.searches
    if not (asked.units or alone) or found is None:
        return asked.units
    units = dict(asked.units)
    units[SEARCH] = max(units.get(SEARCH, 0), alone)
    for unit, most in units.items():
        if most and _may_use(found, unit) and not price.knows((unit,)):
            raise Unpriced(found.name, unit)
    return tuple(units.items())


def _may_use(found: EdgeModel, unit: str) -> bool:
    """Tells whether a model may use what it is offered; one that the catalogue does not know may use everything.

    Who is known not to search uses no search whatever is asked, and no other tool runs where no provider has the
    Responses API.
    """
    if unit in _SEARCHES:
        return bool(found.searches) or not found.mode or _ABLE in found.abilities
    return not found.mode or found.runs_tools
