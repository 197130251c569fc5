"""Who asks."""

from dataclasses import dataclass
from typing import Final

from tollgate_edge.domain.access import Access
from tollgate_holds import LimitSet

DEFAULT_GROUP: Final = "default"


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a key. Operators have no organization and may see all of them; they cannot call models."""

    api_key_id: str
    organization_id: str
    project_id: str
    price_group: str = DEFAULT_GROUP
    route_group: str = DEFAULT_GROUP
    # None: all models of the route group.
    models: frozenset[str] | None = None
    is_operator: bool = False
    # True: a wallet covers each request ahead. False: what was used is paid for later.
    prepaid: bool = True
    # Of the key, its project and its organization; None: none of them has any.
    limits: LimitSet | None = None
    # None: the key has no lists of endpoints or addresses.
    access: Access | None = None
    # Words in alphabetic order, divided by commas.
    tags: str = ""
