"""Makes organizations and projects."""

from dataclasses import dataclass
from typing import Final

from tollgate_edge.domain.names import clean_group, clean_name
from tollgate_edge.ports import Organization, Project, TenantStore
from tollgate_kit.clock import Clock
from tollgate_kit.ids import Ids

# What the shipped prices are in; others come with exchange rates.
CURRENCY: Final = "USD"


@dataclass(frozen=True, slots=True)
class CreateTenant:
    store: TenantStore
    clock: Clock
    ids: Ids

    async def organization(self, name: str) -> Organization:
        """Returns the new organization. Raises ValueError for a bad name, Conflict, StoreUnavailable."""
        made = Organization(self.ids.new("org"), clean_name(name), CURRENCY, self.clock.now_us())
        await self.store.add_organization(made)
        return made

    async def project(
        self, organization: Organization, name: str, *, price_group: str = "", route_group: str = ""
    ) -> Project:
        """Returns the new project; empty groups are `default`. Raises ValueError, Conflict, StoreUnavailable."""
        made = Project(
            id=self.ids.new("proj"),
            organization_id=organization.id,
            name=clean_name(name),
            price_group=clean_group(price_group),
            route_group=clean_group(route_group),
            created_at_us=self.clock.now_us(),
        )
        await self.store.add_project(made)
        return made
