"""The stores in memory."""

from dataclasses import replace

from tollgate_edge.domain.access import access_of
from tollgate_edge.domain.limits import KEY, NO_LIMITS, ORGANIZATION, PROJECT, limit_set
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import Conflict, StoreUnavailable
from tollgate_edge.ports import Changes, KeyLookup, LimitedOwner, Organization, Project, StoredVersion


class Memory:
    """What the three stores share. `away` makes every call fail as a database does that cannot be reached."""

    def __init__(self):
        self.away = False
        self.changes = []
        self.organizations = {}
        self.projects = {}
        self.keys = {}
        self.tokens = {}
        self.limits = {}
        self.postpaid = set()
        self.marks = set()
        self.declared = {}
        self.documents = {}
        self.versions = []

    def check(self):
        if self.away:
            raise StoreUnavailable("away")

    def limits_of(self, owner_id):
        return self.limits.get(owner_id, NO_LIMITS)

    def bump(self, kind, key_hash=""):
        self.changes.append((kind, key_hash))
        return len(self.changes)


class FakeKeyStore:
    def __init__(self, memory):
        self.memory = memory
        self.reads = 0

    async def find_keys(self, hashes):
        self.memory.check()
        self.reads += 1
        found = {key_hash: self._find(key_hash) for key_hash in hashes}
        sequence = len(self.memory.changes)
        return {key_hash: lookup for key_hash, lookup in found.items() if lookup is not None}, sequence

    def _find(self, key_hash):
        if key_hash in self.memory.keys:
            record = self.memory.keys[key_hash]
            project = self.memory.projects[record.project_id]
            principal = Principal(
                record.id,
                record.organization_id,
                record.project_id,
                project.price_group,
                project.route_group,
                None if record.models is None else frozenset(record.models),
                prepaid=record.organization_id not in self.memory.postpaid,
                limits=limit_set(
                    record.organization_id,
                    record.limits.scope(KEY, record.id),
                    self.memory.limits_of(record.project_id).scope(PROJECT, record.project_id),
                    self.memory.limits_of(record.organization_id).scope(ORGANIZATION, record.organization_id),
                ),
                access=access_of(record.endpoints, record.cidrs),
                tags=",".join(record.tags),
                member=record.member,
            )
            return KeyLookup(principal, record.revoked_at_us, record.expires_at_us)
        if key_hash in self.memory.tokens:
            return KeyLookup(Principal(self.memory.tokens[key_hash], "", "", is_operator=True))
        return None

    async def changes_since(self, sequence):
        self.memory.check()
        newest = len(self.memory.changes)
        if not sequence <= newest <= sequence + 1000:
            return Changes(newest, None, versions=True)
        new = self.memory.changes[sequence:]
        return Changes(
            newest,
            tuple(key_hash for kind, key_hash in new if kind == "key"),
            versions=any(kind == "version" for kind, _ in new),
            tenants=tuple(owner_id for kind, owner_id in new if kind in {PROJECT, ORGANIZATION}),
        )

    async def add_key(self, record, key_hash, pepper_id):
        await self.add_keys({key_hash: record}, pepper_id)

    async def add_keys(self, records, pepper_id):
        self.memory.check()
        for record in records.values():
            project = self.memory.projects.get(record.project_id)
            if project is None or project.organization_id != record.organization_id:
                raise Conflict("the project does not belong to the organization")
        if not records.keys().isdisjoint(self.memory.keys):
            raise Conflict("one of the keys is stored already")
        self.memory.bump("key", next(iter(records)))
        self.memory.keys |= records

    async def list_keys(self, organization_id, limit, before):
        self.memory.check()
        found = sorted(self.memory.keys.values(), key=lambda record: record.id, reverse=True)
        return [
            record
            for record in found
            if (not organization_id or record.organization_id == organization_id) and (not before or record.id < before)
        ][:limit]

    async def key(self, key_id):
        self.memory.check()
        return next((record for record in self.memory.keys.values() if record.id == key_id), None)

    async def revoke_key(self, organization_id, key_id, at_us):
        self.memory.check()
        for key_hash, record in self.memory.keys.items():
            if record.id == key_id and organization_id in {"", record.organization_id}:
                if not record.revoked_at_us:
                    self.memory.bump("key", key_hash)
                    self.memory.keys[key_hash] = replace(record, revoked_at_us=at_us)
                return self.memory.keys[key_hash]
        return None

    async def add_token(self, token_id, name, last_four, key_hash, pepper_id, at_us):
        self.memory.check()
        self.memory.bump("key", key_hash)
        self.memory.tokens[key_hash] = token_id


class FakeLimitStore:
    def __init__(self, memory):
        self.memory = memory

    async def limits_of(self, owner_id):
        self.memory.check()
        memory = self.memory
        for record in memory.keys.values():
            if record.id == owner_id:
                return LimitedOwner(KEY, owner_id, record.name, record.organization_id, record.limits)
        if owner_id in memory.projects:
            project = memory.projects[owner_id]
            return LimitedOwner(PROJECT, owner_id, project.name, project.organization_id, memory.limits_of(owner_id))
        for organization in memory.organizations.values():
            if organization.id == owner_id:
                limits, prepaid = memory.limits_of(owner_id), owner_id not in memory.postpaid
                return LimitedOwner(ORGANIZATION, owner_id, organization.name, owner_id, limits, prepaid)
        return None

    async def set_limits(self, owner_id, limits, at_us, *, prepaid=None):
        owner = await self.limits_of(owner_id)
        if owner is None:
            return None
        changed = replace(owner.limits, **limits)
        if owner.kind == KEY:
            key_hash = next(one for one, record in self.memory.keys.items() if record.id == owner_id)
            self.memory.keys[key_hash] = replace(self.memory.keys[key_hash], limits=changed)
            self.memory.bump(KEY, key_hash)
        else:
            self.memory.limits[owner_id] = changed
            self.memory.bump(owner.kind, owner_id)
        if prepaid is not None:
            (self.memory.postpaid.discard if prepaid else self.memory.postpaid.add)(owner_id)
        return await self.limits_of(owner_id)

    async def list_limited(self):
        self.memory.check()
        ids = sorted(record.id for record in self.memory.keys.values())
        ids += [*sorted(self.memory.projects), *sorted(one.id for one in self.memory.organizations.values())]
        owners = [await self.limits_of(one) for one in ids]
        return [one for one in owners if one.limits.any or one.prepaid is False]


def newest(entries, limit, before, name):
    found = sorted(entries, key=lambda entry: entry.id, reverse=True)
    return [one for one in found if (not before or one.id < before) and name in {"", one.name}][:limit]


class FakeTenantStore:
    def __init__(self, memory):
        self.memory = memory

    async def ensure_project(self, organization_id, organization, currency, project_id, project, at_us):
        self.memory.check()
        self.memory.bump("tenant")
        made = Organization(organization_id, organization, currency, at_us)
        owner = self.memory.organizations.setdefault(organization, made).id
        for found in self.memory.projects.values():
            if found.organization_id == owner and found.name == project:
                return found
        made = self.memory.projects[project_id] = Project(project_id, owner, project, "default", "default", at_us)
        return made

    async def add_organization(self, organization):
        self.memory.check()
        if organization.name in self.memory.organizations:
            raise Conflict(f"the organization {self.memory.organizations[organization.name].id} has this name")
        self.memory.bump("tenant")
        self.memory.organizations[organization.name] = organization

    async def list_organizations(self, limit, before, name):
        self.memory.check()
        return newest(self.memory.organizations.values(), limit, before, name)

    async def find_organization(self, organization_id):
        self.memory.check()
        return next((one for one in self.memory.organizations.values() if one.id == organization_id), None)

    async def add_project(self, project):
        self.memory.check()
        if await self.find_organization(project.organization_id) is None:
            raise Conflict("there is no such organization")
        for found in self.memory.projects.values():
            if (found.organization_id, found.name) == (project.organization_id, project.name):
                raise Conflict(f"the project {found.id} has this name")
        self.memory.bump("tenant")
        self.memory.projects[project.id] = project

    async def list_projects(self, organization_id, limit, before, name):
        self.memory.check()
        mine = [one for one in self.memory.projects.values() if organization_id in {"", one.organization_id}]
        return newest(mine, limit, before, name)

    async def find_project(self, organization_id, project_id):
        self.memory.check()
        for found in self.memory.projects.values():
            if organization_id in {"", found.organization_id} and project_id in {"", found.id}:
                return found
        return None

    async def is_done(self, mark):
        self.memory.check()
        return mark in self.memory.marks

    async def set_done(self, mark, at_us):
        self.memory.check()
        self.memory.marks.add(mark)


class FakeVersionStore:
    def __init__(self, memory):
        self.memory = memory

    async def declared(self):
        self.memory.check()
        return dict(self.memory.declared)

    async def publish(self, declared, digest, document, at_us):
        self.memory.check()
        sequence = self.memory.bump("version")
        for owner, resources in declared.items():
            self.memory.declared.pop(owner, None)
            if resources:
                self.memory.declared[owner] = resources
        if self.memory.versions and self.memory.versions[-1].digest == digest:
            return self.memory.versions[-1]
        self.memory.documents.setdefault(digest, document)
        self.memory.versions.append(StoredVersion(digest, sequence))
        return self.memory.versions[-1]

    async def current(self):
        self.memory.check()
        return self.memory.versions[-1] if self.memory.versions else None

    async def document(self, digest):
        self.memory.check()
        return self.memory.documents.get(digest)
