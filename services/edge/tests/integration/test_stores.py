"""The stores: one suite for the fakes, SQLite and PostgreSQL."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from services.edge.tests.fakes.stores import FakeKeyStore, FakeLimitStore, FakeTenantStore, FakeVersionStore, Memory

from tollgate_edge.adapters.sql import tables
from tollgate_edge.adapters.sql.database import Database
from tollgate_edge.adapters.sql.limits import SqlLimitStore
from tollgate_edge.adapters.sql.stores import SqlKeyStore, SqlVersionStore
from tollgate_edge.adapters.sql.tenants import SqlTenantStore
from tollgate_edge.domain.access import access_of
from tollgate_edge.domain.limits import NO_LIMITS, Limits
from tollgate_edge.errors import Conflict, StoreUnavailable
from tollgate_edge.ports import KeyRecord, Organization, Project, StoredVersion
from tollgate_edge.use_cases.look_up_keys import KeyLookups

pytestmark = pytest.mark.integration


class Stores:
    def __init__(self, keys, tenants, versions, limits, url=""):
        self.keys, self.tenants, self.versions, self.limits, self.url = keys, tenants, versions, limits, url


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
async def stores(request, tmp_path):
    if request.param == "fake":
        memory = Memory()
        yield Stores(FakeKeyStore(memory), FakeTenantStore(memory), FakeVersionStore(memory), FakeLimitStore(memory))
        return
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/edge.sqlite"
    else:
        url = request.getfixturevalue("postgresql").new_database("edge")
    database = Database(url)
    await database.migrate()
    yield Stores(
        SqlKeyStore(database), SqlTenantStore(database), SqlVersionStore(database), SqlLimitStore(database), url
    )
    database.close()


def record(number, project, **changes):
    values = {
        "id": f"key_{number}",
        "organization_id": project.organization_id,
        "project_id": project.id,
        "name": f"key {number}",
        "last_four": "abcd",
        "created_at_us": 1_764_000_000_000_000 + number,
    }
    return KeyRecord(**{**values, **changes})


async def a_project(stores, name="demo"):
    return await stores.tenants.ensure_project(f"org_{name}", name, "USD", f"proj_{name}", "default", 1)


async def test_ensuring_a_project_twice_gives_the_first_one(stores):
    first = await a_project(stores)
    again = await stores.tenants.ensure_project("org_other", "demo", "USD", "proj_other", "default", 2)
    assert again == first
    assert (first.price_group, first.route_group) == ("default", "default")


async def test_projects_are_found_by_organization_or_as_the_oldest(stores):
    assert await stores.tenants.find_project("", "") is None
    first = await a_project(stores)
    second = await stores.tenants.ensure_project("org_b", "b", "CNY", "proj_b", "default", 2)
    assert await stores.tenants.find_project("", "") == first
    assert await stores.tenants.find_project("org_b", "") == second
    assert await stores.tenants.find_project("", "proj_b") == second
    assert await stores.tenants.find_project("org_demo", "proj_b") is None


async def test_organizations_are_made_once_listed_newest_first_and_found_by_name(stores):
    made = [Organization(f"org_{number}", name, "USD", number) for number, name in enumerate(("a", "b", "c"))]
    for one in made:
        await stores.tenants.add_organization(one)
    with pytest.raises(Conflict, match="org_1"):
        await stores.tenants.add_organization(Organization("org_9", "b", "USD", 9))
    assert await stores.tenants.list_organizations(2, "", "") == [made[2], made[1]]
    assert await stores.tenants.list_organizations(2, "org_1", "") == [made[0]]
    assert await stores.tenants.list_organizations(2, "", "a") == [made[0]]
    assert await stores.tenants.find_organization("org_1") == made[1]
    assert await stores.tenants.find_organization("org_9") is None


async def test_projects_are_made_once_in_their_organization(stores):
    first = await a_project(stores)
    await stores.tenants.add_organization(Organization("org_b", "b", "USD", 1))
    other = Project("proj_x", "org_b", "default", "partner", "eu", 2)
    await stores.tenants.add_project(other)
    with pytest.raises(Conflict, match=first.id):
        await stores.tenants.add_project(Project("proj_y", first.organization_id, "default", "default", "default", 2))
    with pytest.raises(Conflict):
        await stores.tenants.add_project(Project("proj_y", "org_none", "x", "default", "default", 2))
    assert await stores.tenants.find_project("org_b", "") == other
    assert await stores.tenants.list_projects("", 9, "", "") == [other, first]
    assert await stores.tenants.list_projects("org_b", 9, "", "") == [other]
    assert await stores.tenants.list_projects("", 9, "proj_x", "default") == [first]
    assert await stores.tenants.list_projects("", 9, "", "none") == []


async def test_a_key_is_found_by_any_of_its_hashes(stores):
    project = await a_project(stores)
    await stores.keys.add_key(record(1, project, models=("a", "b"), expires_at_us=7), "hash1", "pepper")
    found, sequence = await stores.keys.find_keys(["other", "hash1"])
    assert set(found) == {"hash1"}
    lookup = found["hash1"]
    assert lookup.principal.api_key_id == "key_1"
    assert lookup.principal.organization_id == project.organization_id
    assert lookup.principal.models == frozenset({"a", "b"})
    assert not lookup.principal.is_operator
    assert (lookup.revoked_at_us, lookup.expires_at_us) == (0, 7)
    assert sequence == (await stores.keys.changes_since(0)).sequence
    assert (await stores.keys.find_keys(["other"]))[0] == {}
    assert (await stores.keys.find_keys([]))[0] == {}


async def test_many_keys_are_found_in_one_read(stores):
    project = await a_project(stores)
    for number in range(1, 4):
        await stores.keys.add_key(record(number, project), f"hash{number}", "pepper")
    await stores.keys.add_token("pat_1", "token", "abcd", "hash9", "pepper", 1)
    found, _ = await stores.keys.find_keys(
        ["hash3", "none", "hash9", "hash1", *(f"x{number}" for number in range(300))]
    )
    assert {name: one.principal.api_key_id for name, one in found.items()} == {
        "hash1": "key_1",
        "hash3": "key_3",
        "hash9": "pat_1",
    }
    assert found["hash9"].principal.is_operator


async def test_a_key_is_found_by_its_id(stores):
    project = await a_project(stores)
    await stores.keys.add_key(record(1, project, models=("a",)), "hash1", "pepper")
    found = await stores.keys.key("key_1")
    assert (found.id, found.project_id, found.models) == ("key_1", project.id, ("a",))
    assert await stores.keys.key("key_2") is None


async def test_a_key_without_a_list_may_use_every_model(stores):
    project = await a_project(stores)
    await stores.keys.add_key(record(1, project), "hash1", "pepper")
    assert (await stores.keys.find_keys(["hash1"]))[0]["hash1"].principal.models is None


async def test_what_a_key_may_be_used_for_and_from_where_is_kept(stores):
    project = await a_project(stores)
    lists = {
        "endpoints": ("chat", "media"),
        "cidrs": ("203.0.113.0/24", "2001:db8::/32"),
        "tags": ("a", "b"),
        "member": "ada",
    }
    await stores.keys.add_key(record(1, project, **lists), "hash1", "pepper")
    await stores.keys.add_key(record(2, project, endpoints=(), cidrs=()), "hash2", "pepper")
    await stores.keys.add_key(record(3, project), "hash3", "pepper")
    found = (await stores.keys.find_keys(["hash1", "hash2", "hash3"]))[0]
    assert found["hash1"].principal.access == access_of(lists["endpoints"], lists["cidrs"])
    assert [found[name].principal.tags for name in ("hash1", "hash3")] == ["a,b", ""]
    assert [found[name].principal.member for name in ("hash1", "hash3")] == ["ada", ""]
    assert found["hash2"].principal.access == access_of((), ())
    assert found["hash3"].principal.access is None
    assert await stores.keys.key("key_1") == record(1, project, **lists)
    assert [one.endpoints for one in await stores.keys.list_keys("", 9, "")] == [None, (), ("chat", "media")]


async def test_a_key_belongs_to_a_project_of_its_organization(stores):
    project = await a_project(stores)
    with pytest.raises(Conflict):
        await stores.keys.add_key(record(1, project, organization_id="org_else"), "hash1", "pepper")
    with pytest.raises(Conflict):
        await stores.keys.add_key(record(1, project, project_id="none"), "hash1", "pepper")
    assert await stores.keys.list_keys("", 10, "") == []


async def test_many_keys_are_stored_at_once_or_none_of_them(stores):
    project = await a_project(stores)
    many = {f"{number:064x}": record(number, project) for number in range(1, 2501)}
    await stores.keys.add_keys(many, "pepper")
    found, sequence = await stores.keys.find_keys(["0" * 64, *many])
    assert {key_hash: lookup.principal.api_key_id for key_hash, lookup in found.items()} == {
        key_hash: one.id for key_hash, one in many.items()
    }
    assert (await stores.keys.changes_since(sequence - 1)).key_hashes == (f"{1:064x}",)
    # One that is there already, and one of somebody else's project.
    known = {"a" * 64: record(3001, project), f"{7:064x}": record(3002, project)}
    foreign = {"b" * 64: record(3003, project), "c" * 64: record(3004, project, organization_id="org_other")}
    for some in (known, foreign):
        with pytest.raises(Conflict):
            await stores.keys.add_keys(some, "pepper")
        assert (await stores.keys.find_keys(list(some)))[0].keys() <= many.keys()
    assert (await stores.keys.changes_since(sequence)).sequence == sequence


async def test_keys_are_listed_newest_first_and_page_by_page(stores):
    project, other = await a_project(stores), await a_project(stores, "other")
    for number in range(1, 5):
        await stores.keys.add_key(record(number, project), f"hash{number}", "pepper")
    await stores.keys.add_key(record(9, other), "hash9", "pepper")
    page = await stores.keys.list_keys(project.organization_id, 2, "")
    assert [one.id for one in page] == ["key_4", "key_3"]
    assert [one.id for one in await stores.keys.list_keys(project.organization_id, 9, "key_3")] == ["key_2", "key_1"]
    assert len(await stores.keys.list_keys("", 9, "")) == 5


async def test_a_revocation_is_kept_once_and_moves_the_sequence(stores):
    project = await a_project(stores)
    await stores.keys.add_key(record(1, project), "hash1", "pepper")
    before = (await stores.keys.changes_since(0)).sequence
    revoked = await stores.keys.revoke_key(project.organization_id, "key_1", 50)
    assert revoked.revoked_at_us == 50
    changes = await stores.keys.changes_since(before)
    assert changes.key_hashes == ("hash1",)
    assert changes.sequence > before
    again = await stores.keys.revoke_key("", "key_1", 99)
    assert again.revoked_at_us == 50
    assert (await stores.keys.changes_since(changes.sequence)).key_hashes == ()
    assert (await stores.keys.find_keys(["hash1"]))[0]["hash1"].revoked_at_us == 50


async def test_nobody_revokes_the_key_of_another_organization(stores):
    project = await a_project(stores)
    await stores.keys.add_key(record(1, project), "hash1", "pepper")
    assert await stores.keys.revoke_key("org_else", "key_1", 50) is None
    assert (await stores.keys.find_keys(["hash1"]))[0]["hash1"].revoked_at_us == 0


async def test_an_access_token_belongs_to_an_operator(stores):
    await stores.keys.add_token("pat_1", "bootstrap", "abcd", "hash1", "pepper", 1)
    lookup = (await stores.keys.find_keys(["hash1"]))[0]["hash1"]
    assert lookup.principal.is_operator
    assert lookup.principal.api_key_id == "pat_1"


async def test_whoever_is_far_behind_or_ahead_is_told_to_forget_everything(stores):
    await a_project(stores)
    for sequence in (99, -2000):
        changes = await stores.keys.changes_since(sequence)
        assert changes.key_hashes is None
        assert changes.versions
        assert changes.sequence == 1


async def test_marks_are_kept(stores):
    assert not await stores.tenants.is_done("a")
    await stores.tenants.set_done("a", 1)
    await stores.tenants.set_done("a", 2)
    assert await stores.tenants.is_done("a")
    assert not await stores.tenants.is_done("b")


async def test_publishing_puts_a_version_in_force_with_its_declarations(stores):
    assert await stores.versions.current() is None
    first = await stores.versions.publish({"file:a": b"A", "environment": b"E"}, "sha256:1", b"one", 1)
    assert await stores.versions.current() == first == StoredVersion("sha256:1", first.sequence)
    second = await stores.versions.publish({"file:b": b"B", "file:a": b""}, "sha256:2", b"two", 2)
    assert await stores.versions.current() == second
    assert second.sequence > first.sequence
    assert await stores.versions.declared() == {"environment": b"E", "file:b": b"B"}
    assert await stores.versions.document("sha256:1") == b"one"
    assert await stores.versions.document("sha256:2") == b"two"
    assert await stores.versions.document("sha256:3") is None


async def test_the_version_in_force_is_not_published_twice_but_an_older_one_comes_back(stores):
    first = await stores.versions.publish({}, "sha256:1", b"one", 1)
    assert await stores.versions.publish({}, "sha256:1", b"one", 2) == first
    await stores.versions.publish({}, "sha256:2", b"two", 3)
    back = await stores.versions.publish({}, "sha256:1", b"one", 4)
    assert back.digest == "sha256:1"
    assert back.sequence > first.sequence
    assert await stores.versions.current() == back


async def test_a_publish_is_seen_as_a_change_of_versions(stores):
    before = (await stores.keys.changes_since(0)).sequence
    await stores.versions.publish({}, "sha256:1", b"one", 1)
    changes = await stores.keys.changes_since(before)
    assert changes.versions
    assert changes.key_hashes == ()


async def test_changes_of_many_at_once_get_sequences_without_gaps(stores):
    project = await a_project(stores)
    before = (await stores.keys.changes_since(0)).sequence
    await asyncio.gather(*(stores.keys.add_key(record(n, project), f"hash{n}", "pepper") for n in range(20)))
    changes = await stores.keys.changes_since(before)
    assert changes.sequence == before + 20
    assert sorted(changes.key_hashes) == sorted(f"hash{n}" for n in range(20))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_migrating_twice_and_at_once_makes_the_tables_that_the_code_knows(request, tmp_path, kind):
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/edge.sqlite"
    else:
        url = request.getfixturevalue("postgresql").new_database("edge")
    databases = [Database(url) for _ in range(3)]
    await asyncio.gather(*(database.migrate() for database in databases))
    await databases[0].migrate()

    def look(connection):
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        return compare_metadata(MigrationContext.configure(connection), tables.metadata)

    assert await databases[0].read(look) == []
    for database in databases:
        database.close()


def test_a_schema_that_is_up_to_date_is_found_so_without_alembic(tmp_path):
    url = f"sqlite:///{tmp_path}/edge.sqlite"
    program = (
        "import asyncio, sys; from tollgate_edge.adapters.sql.database import Database; "
        f"asyncio.run(Database({url!r}).migrate()); print('alembic' in sys.modules)"
    )
    told = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]
    assert told == ["True", "False"]


async def test_a_database_that_cannot_be_reached_is_said_to_be_away(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/none/edge.sqlite")
    with pytest.raises(StoreUnavailable):
        await database.migrate()
    database.close()
    database = Database("postgresql+psycopg://app@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable):
        await database.read(lambda connection: connection.execute(sa.select(1)).all())
    database.close()


async def test_a_database_that_does_not_answer_is_given_up_and_asked_anew(postgresql):
    url = postgresql.new_database("edge")
    database = Database(url, answer_seconds=0.1)
    await database.migrate()
    keys, other = SqlKeyStore(database), sa.create_engine(url)
    lookups = KeyLookups(keys, pause_seconds=0)
    with other.begin() as connection:
        connection.execute(sa.text("LOCK TABLE change_counter IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(StoreUnavailable, match=r"has not answered for 0\.1 s"):
            await lookups.find(("first",))
        with pytest.raises(StoreUnavailable, match=r"has not answered for 0\.1 s"):
            await keys.changes_since(0)
    found = None
    while found is None:
        # A slow machine may need another try.
        with contextlib.suppress(StoreUnavailable):
            found = await lookups.find(("second",))
    assert found == (None, 0)
    other.dispose()
    database.close()


async def test_a_postgresql_host_that_dies_without_a_word_is_given_up(postgresql):
    database = Database(postgresql.new_database("edge"))

    def options(connection):
        with socket.socket(fileno=os.dup(connection.connection.driver_connection.fileno())) as found:
            assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            names = ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
            return [found.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]

    assert await database.read(options) == [10_000, 10, 5, 3]
    database.close()


async def test_limits_of_key_project_and_organization_come_with_the_key(stores):
    project = await a_project(stores)
    await stores.keys.add_key(record(1, project, limits=Limits(concurrency=3)), "hash1", "pepper")
    found = (await stores.keys.find_keys(["hash1"]))[0]["hash1"].principal
    assert [(one.kind, one.id, one.slots) for one in found.limits.scopes] == [("key", "key_1", 3)]
    assert found.prepaid
    await stores.limits.set_limits(project.id, {"requests_per_minute": 5}, 2)
    await stores.limits.set_limits(project.organization_id, {"tokens_per_minute": 10**12}, 3, prepaid=False)
    found = (await stores.keys.find_keys(["hash1"]))[0]["hash1"].principal
    assert [(one.kind, one.id, one.requests, one.tokens, one.slots) for one in found.limits.scopes] == [
        ("key", "key_1", 0, 0, 3),
        ("project", project.id, 5, 0, 0),
        ("organization", project.organization_id, 0, 10**12, 0),
    ]
    assert not found.prepaid


async def test_a_key_whose_owners_have_no_limits_has_none(stores):
    project = await a_project(stores)
    await stores.keys.add_key(record(1, project), "hash1", "pepper")
    assert (await stores.keys.find_keys(["hash1"]))[0]["hash1"].principal.limits is None
    await stores.limits.set_limits("key_1", {"concurrency": 1}, 2)
    assert (await stores.keys.find_keys(["hash1"]))[0]["hash1"].principal.limits is not None
    await stores.limits.set_limits("key_1", {"concurrency": 0}, 3)
    assert (await stores.keys.find_keys(["hash1"]))[0]["hash1"].principal.limits is None


async def test_setting_some_limits_keeps_the_others_and_names_who_changed(stores):
    project = await a_project(stores)
    await stores.keys.add_key(record(1, project, limits=Limits(concurrency=3)), "hash1", "pepper")
    before = (await stores.keys.changes_since(0)).sequence
    budget = {"budget_pico": 2**62, "budget_window": "day"}
    owner = await stores.limits.set_limits("key_1", {"requests_per_minute": 7, **budget}, 5)
    assert (owner.kind, owner.name, owner.organization_id) == ("key", "key 1", project.organization_id)
    assert owner.limits == Limits(requests_per_minute=7, concurrency=3, **budget)
    assert owner == await stores.limits.limits_of("key_1")
    changes = await stores.keys.changes_since(before)
    assert (changes.key_hashes, changes.tenants) == (("hash1",), ())
    await stores.limits.set_limits(project.id, {"concurrency": 1}, 6)
    await stores.limits.set_limits(project.organization_id, {}, 7, prepaid=False)
    changes = await stores.keys.changes_since(changes.sequence)
    assert (changes.key_hashes, changes.tenants) == ((), (project.id, project.organization_id))
    assert (await stores.limits.limits_of(project.organization_id)).prepaid is False
    assert (await stores.limits.limits_of(project.id)).prepaid is None


async def test_limits_of_nobody(stores):
    for owner_id in ("key_none", "proj_none", "org_none", "none", ""):
        assert await stores.limits.limits_of(owner_id) is None
        assert await stores.limits.set_limits(owner_id, {"concurrency": 1}, 1) is None
    assert (await stores.keys.changes_since(0)).sequence == 0


async def test_who_is_limited_or_pays_later_is_listed(stores):
    project, other = await a_project(stores), await a_project(stores, "other")
    await stores.keys.add_key(record(1, project), "hash1", "pepper")
    await stores.keys.add_key(record(2, project, limits=Limits(concurrency=3)), "hash2", "pepper")
    assert [one.id for one in await stores.limits.list_limited()] == ["key_2"]
    await stores.limits.set_limits(other.id, {"tokens_per_minute": 9}, 2)
    await stores.limits.set_limits(other.organization_id, {}, 3, prepaid=False)
    found = await stores.limits.list_limited()
    assert [one.id for one in found] == ["key_2", other.id, other.organization_id]
    assert (found[2].limits, found[2].prepaid) == (NO_LIMITS, False)


async def test_a_database_of_the_version_before_gets_no_limits(tmp_path):
    url = f"sqlite:///{tmp_path}/edge.sqlite"
    engine = sa.create_engine(url)
    config = Config()
    config.set_main_option("script_location", "tollgate_edge:migrations")
    script = ScriptDirectory.from_config(config)
    with (
        engine.begin() as connection,
        EnvironmentContext(
            config, script, fn=lambda revision, _: script._upgrade_revs("0001", revision)
        ) as environment,
    ):
        environment.configure(connection=connection)
        environment.run_migrations()
        connection.execute(
            sa.text("insert into organizations (id, name, currency, created_at_us) values ('org_1', 'one', 'USD', 1)")
        )
    engine.dispose()
    database = Database(url)
    await database.migrate()
    owner = await SqlLimitStore(database).limits_of("org_1")
    assert (owner.limits, owner.prepaid) == (NO_LIMITS, True)
    database.close()
