"""Makes organizations and projects."""

from dataclasses import dataclass

from tollgate_edge.domain.names import clean_group, clean_name
from tollgate_edge.ports import Organization, Project, TenantStore
from tollgate_kit.clock import Clock
from tollgate_kit.ids import Ids


@dataclass(frozen=True, slots=True)
class CreateTenant:
    store: TenantStore
    clock: Clock
    ids: Ids

    async def organization(self, name: str, currency: str) -> Organization:
        """Returns the new organization. Raises ValueError for a bad name, Conflict, StoreUnavailable.

        It pays in `currency` for good: its wallet, its holds and what is under way are in it.
        """
        made = Organization(self.ids.new("org"), clean_name(name), currency, self.clock.now_us())
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
