"""Organizations and projects over SQL."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from tollgate_edge.adapters.sql import tables as t
from tollgate_edge.adapters.sql.changes import bump
from tollgate_edge.adapters.sql.database import Database
from tollgate_edge.domain.principal import DEFAULT_GROUP
from tollgate_edge.errors import Conflict
from tollgate_edge.ports import Organization, Project


class SqlTenantStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure_project(
        self, organization_id: str, organization: str, currency: str, project_id: str, project: str, at_us: int
    ) -> Project:
        def work(connection: sa.Connection) -> Project:
            # The counter's row serialises two processes that start at once.
            bump(connection, "tenant", "", at_us)
            owner = connection.execute(
                sa.select(t.organizations.c.id).where(t.organizations.c.name == organization)
            ).scalar_one_or_none()
            if owner is None:
                owner = organization_id
                _insert_organization(connection, Organization(owner, organization, currency, at_us))
            query = sa.select(t.projects).where(t.projects.c.organization_id == owner, t.projects.c.name == project)
            row = connection.execute(query).one_or_none()
            if row is None:
                _insert_project(connection, Project(project_id, owner, project, DEFAULT_GROUP, DEFAULT_GROUP, at_us))
                row = connection.execute(query).one()
            return _project_of(row)

        return await self._database.write(work)

    async def add_organization(self, organization: Organization) -> None:
        def work(connection: sa.Connection) -> None:
            bump(connection, "tenant", "", organization.created_at_us)
            taken = sa.select(t.organizations.c.id).where(t.organizations.c.name == organization.name)
            if (owner := connection.execute(taken).scalar_one_or_none()) is not None:
                raise Conflict(f"the organization {owner} has this name")
            _insert_organization(connection, organization)

        await self._database.write(work)

    async def list_organizations(self, limit: int, before: str, name: str) -> Sequence[Organization]:
        query = _page(t.organizations, limit, before, name)
        return await self._database.read(lambda c: [_organization_of(row) for row in c.execute(query).all()])

    async def find_organization(self, organization_id: str) -> Organization | None:
        query = sa.select(t.organizations).where(t.organizations.c.id == organization_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _organization_of(row)

    async def add_project(self, project: Project) -> None:
        def work(connection: sa.Connection) -> None:
            bump(connection, "tenant", "", project.created_at_us)
            owner = sa.select(t.organizations.c.id).where(t.organizations.c.id == project.organization_id)
            if connection.execute(owner).first() is None:
                raise Conflict("there is no such organization")
            taken = sa.select(t.projects.c.id).where(
                t.projects.c.organization_id == project.organization_id, t.projects.c.name == project.name
            )
            if (found := connection.execute(taken).scalar_one_or_none()) is not None:
                raise Conflict(f"the project {found} has this name")
            _insert_project(connection, project)

        await self._database.write(work)

    async def list_projects(self, organization_id: str, limit: int, before: str, name: str) -> Sequence[Project]:
        query = _page(t.projects, limit, before, name)
        if organization_id:
            query = query.where(t.projects.c.organization_id == organization_id)
        return await self._database.read(lambda c: [_project_of(row) for row in c.execute(query).all()])

    async def find_project(self, organization_id: str, project_id: str) -> Project | None:
        query = sa.select(t.projects).order_by(t.projects.c.created_at_us, t.projects.c.id).limit(1)
        if organization_id:
            query = query.where(t.projects.c.organization_id == organization_id)
        if project_id:
            query = query.where(t.projects.c.id == project_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _project_of(row)

    async def is_done(self, mark: str) -> bool:
        query = sa.select(t.marks.c.name).where(t.marks.c.name == mark)
        return await self._database.read(lambda connection: connection.execute(query).first() is not None)

    async def set_done(self, mark: str, at_us: int) -> None:
        def work(connection: sa.Connection) -> None:
            if connection.execute(sa.select(t.marks.c.name).where(t.marks.c.name == mark)).first() is None:
                connection.execute(t.marks.insert().values(name=mark, done_at_us=at_us))

        await self._database.write(work)


def _insert_organization(connection: sa.Connection, organization: Organization) -> None:
    connection.execute(
        t.organizations.insert().values(
            id=organization.id,
            name=organization.name,
            currency=organization.currency,
            created_at_us=organization.created_at_us,
        )
    )


def _insert_project(connection: sa.Connection, project: Project) -> None:
    connection.execute(
        t.projects.insert().values(
            id=project.id,
            organization_id=project.organization_id,
            name=project.name,
            price_group=project.price_group,
            route_group=project.route_group,
            created_at_us=project.created_at_us,
        )
    )


def _page(table: sa.Table, limit: int, before: str, name: str) -> sa.Select[Any]:
    query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    if before:
        query = query.where(table.c.id < before)
    return query.where(table.c.name == name) if name else query


def _organization_of(row: Any) -> Organization:
    return Organization(row.id, row.name, row.currency, row.created_at_us)


def _project_of(row: Any) -> Project:
    return Project(row.id, row.organization_id, row.name, row.price_group, row.route_group, row.created_at_us)
