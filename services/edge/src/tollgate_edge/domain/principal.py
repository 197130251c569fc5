"""Who asks."""

from dataclasses import dataclass
from typing import Final

from tollgate.exchange.v1 import exchange_pb2 as wire
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
    # In which the organization pays; empty is whatever a price book is in.
    currency: str = ""
    # Words in alphabetic order, divided by commas.
    tags: str = ""
    # Whose key it is, as an operator named them; empty where nobody is named.
    member: str = ""


def tenant_message(principal: Principal) -> wire.Tenant:
    """Returns who pays and what it is admitted within, as it travels and is kept with what was used."""
    return wire.Tenant(
        organization_id=principal.organization_id,
        project_id=principal.project_id,
        api_key_id=principal.api_key_id,
        price_group=principal.price_group,
        route_group=principal.route_group,
        currency=principal.currency,
        tags=principal.tags,
        member=principal.member,
        limits=[
            wire.Limit(
                kind=scope.kind,
                id=scope.id,
                requests_per_minute=scope.requests,
                tokens_per_minute=scope.tokens,
                concurrency=scope.slots,
                budget_pico=scope.budget_pico,
                budget_window=scope.budget_window if scope.budget_pico else "",
            )
            for scope in (principal.limits.scopes if principal.limits is not None else ())
        ],
    )
