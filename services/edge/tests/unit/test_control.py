"""Applying configuration, following versions, and the first start."""

import asyncio
import contextlib
import stat

import pytest
from services.edge.tests.fakes.services import FakeBilling, FakeKeysFile
from services.edge.tests.fakes.stores import FakeKeyStore, FakeTenantStore, FakeVersionStore, Memory

from tollgate_edge.adapters.files import JsonKeysFile, read_peppers
from tollgate_edge.domain.keys import Secret, keyed_hash, pepper_of
from tollgate_edge.errors import ConfigurationInvalid, PublicError
from tollgate_edge.use_cases.apply_configuration import ApplyConfiguration
from tollgate_edge.use_cases.bootstrap import SEEDED, Bootstrap, FirstKeys
from tollgate_edge.use_cases.create_key import CreateKey
from tollgate_edge.use_cases.follow_version import VersionHolder
from tollgate_kit.clock import ManualClock
from tollgate_kit.ids import CountingIds
from tollgate_resources import load_catalogue, parse_version

pytestmark = pytest.mark.unit

CATALOGUE = load_catalogue()
PEPPER = pepper_of(b"p" * 32)
CHANNEL = "channels: [{{name: {}, provider: openai, credentials: [{{env: K}}], models: [gpt-5.1]}}]\n"
SIMULATOR = "http://127.0.0.1:9/v1"


class Files:
    def __init__(self, folder):
        self.folder, self.store = folder, FakeVersionStore(Memory())

    def apply(self, environment=None):
        return ApplyConfiguration(self.store, CATALOGUE, ManualClock(), environment or {}, [self.folder], SIMULATOR)()

    async def channels(self):
        current = await self.store.current()
        return [channel.name for channel in parse_version(await self.store.document(current.digest)).channels]


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


async def test_files_are_applied_and_what_they_no_longer_declare_is_pruned(files):
    (files.folder / "a.yaml").write_text(CHANNEL.format("one"))
    (files.folder / "b.yaml").write_text(CHANNEL.format("two"))
    first = await files.apply()
    assert await files.channels() == ["one", "two"]
    assert set(await files.store.declared()) == {"file:a.yaml", "file:b.yaml"}
    assert await files.apply() == first
    (files.folder / "b.yaml").unlink()
    assert (await files.apply()).sequence > first.sequence
    assert await files.channels() == ["one"]
    assert set(await files.store.declared()) == {"file:a.yaml"}


async def test_a_bad_file_changes_nothing_and_names_every_problem(files):
    (files.folder / "a.yaml").write_text(CHANNEL.format("one"))
    first = await files.apply()
    (files.folder / "a.yaml").write_text("channels: 7\nroutes: 8\n")
    with pytest.raises(ConfigurationInvalid) as refused:
        await files.apply()
    assert [problem.line for problem in refused.value.problems] == [1, 2]
    assert await files.store.current() == first
    assert await files.channels() == ["one"]


async def test_without_declared_channels_keys_in_the_environment_serve_and_else_the_simulator(files):
    await files.apply()
    assert await files.channels() == ["simulator", "simulator-anthropic", "simulator-deepseek", "simulator-gemini"]
    await files.apply({"OPENAI_API_KEY": "sk-secret"})
    assert await files.channels() == ["openai"]
    (files.folder / "prices.yaml").write_text(
        "price_books: [{name: public, effective: 2026-11-01T00:00:00Z, currency: USD, models: {m: {input: '1'}}}]\n"
    )
    await files.apply({"OPENAI_API_KEY": "sk-secret"})
    assert await files.channels() == ["openai"]
    (files.folder / "a.yaml").write_text(CHANNEL.format("mine"))
    await files.apply({"OPENAI_API_KEY": "sk-secret"})
    assert await files.channels() == ["mine"]
    assert "environment" not in await files.store.declared()
    assert not any(b"sk-secret" in document for document in files.store.memory.documents.values())


async def test_other_owners_declarations_stay(files):
    await files.store.publish({"api": b'{"channels":[]}'}, "sha256:0", b"{}", 1)
    (files.folder / "a.yaml").write_text(CHANNEL.format("mine"))
    await files.apply()
    assert set(await files.store.declared()) == {"api", "file:a.yaml"}


async def test_a_version_is_swapped_in_and_watchers_hear_of_it(files):
    holder, stopping, seen = VersionHolder(files.store), asyncio.Event(), []
    assert holder.missing()

    async def watch():
        async for version in holder.watch(stopping):
            seen.append(version.sequence)
            heard.set()

    heard = asyncio.Event()
    watching = asyncio.create_task(watch())
    await holder.refresh()
    assert holder.current() is None
    for name in ("one", "two"):
        heard.clear()
        (files.folder / "a.yaml").write_text(CHANNEL.format(name))
        await files.apply()
        await holder.refresh()
        await asyncio.wait_for(heard.wait(), 60)
    version = holder.current()
    await holder.refresh()
    assert holder.current() is version
    assert holder.missing() is None
    assert version.model("default", "gpt-5.1").mode == "chat"
    assert version.model("other", "gpt-5.1") is None
    assert [model.name for model in version.models_of("default")] == ["gpt-5.1"]
    stopping.set()
    await asyncio.wait_for(watching, 60)
    assert seen == sorted(set(seen))
    assert len(seen) == 2


async def test_a_watcher_that_goes_away_leaves_no_task(files):
    holder, before = VersionHolder(files.store), asyncio.all_tasks()
    watching = asyncio.create_task(anext(holder.watch(asyncio.Event())))
    while asyncio.all_tasks() <= {*before, watching}:  # noqa: ASYNC110 - the tasks are what is looked at.
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.wait({watching})
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


class Start:
    def __init__(self):
        self.memory, self.billing, self.file = Memory(), FakeBilling(), FakeKeysFile()
        self.keys, self.tenants = FakeKeyStore(self.memory), FakeTenantStore(self.memory)
        self.numbers = iter(range(1, 1000))

    def random_bytes(self, count):
        return next(self.numbers).to_bytes(count, "big")

    async def run(self, *, demo=True):
        clock, ids = ManualClock(), CountingIds()
        create = CreateKey(self.keys, PEPPER, clock, ids, self.random_bytes)
        await Bootstrap(
            self.tenants, self.keys, create, self.billing, self.file, PEPPER, clock, ids, self.random_bytes, demo, 100
        )()

    async def found(self, secret):
        key_hash = keyed_hash(secret.reveal().encode(), PEPPER)
        return (await self.keys.find_keys([key_hash]))[0].get(key_hash)


async def test_the_first_start_makes_a_token_a_key_and_100_dollars():
    start = Start()
    await start.run()
    assert (await start.found(start.file.keys.admin_key)).principal.is_operator
    key = await start.found(start.file.keys.api_key)
    assert key.principal.organization_id == start.memory.organizations["demo"].id
    (grant,) = start.billing.grants.values()
    assert (grant.organization_id, grant.currency, grant.amount_pico) == (key.principal.organization_id, "USD", 10**14)
    assert await start.tenants.is_done(SEEDED)


async def test_later_starts_keep_everything_and_grant_nothing():
    start = Start()
    await start.run()
    before = (start.file.keys, dict(start.memory.keys), dict(start.memory.tokens), dict(start.billing.grants))
    await start.run()
    assert (start.file.keys, start.memory.keys, start.memory.tokens, start.billing.grants) == before
    assert start.file.writes == 1


async def test_with_billing_away_the_start_is_repeated_with_the_same_keys():
    start = Start()
    start.billing.away = 2
    for _ in range(2):
        with pytest.raises(PublicError):
            await start.run()
        assert not await start.tenants.is_done(SEEDED)
    keys = start.file.keys
    await start.run()
    assert start.file.keys is keys
    assert len(start.memory.keys) == len(start.memory.tokens) == len(start.billing.grants) == 1


async def test_without_a_demo_there_is_only_a_token_and_the_demo_may_come_later():
    start = Start()
    await start.run(demo=False)
    assert start.file.keys.api_key is None
    assert start.memory.keys == start.billing.grants == {}
    token = start.file.keys.admin_key
    await start.run()
    assert start.file.keys.admin_key is token
    assert await start.found(start.file.keys.api_key)


async def test_keys_of_a_file_work_again_after_the_database_was_lost():
    start = Start()
    await start.run()
    again = Start()
    again.file.keys = start.file.keys
    await again.run()
    assert await again.found(start.file.keys.api_key)
    assert (await again.found(start.file.keys.admin_key)).principal.is_operator


def test_the_file_of_first_keys_is_its_owners_only(tmp_path):
    file = JsonKeysFile(tmp_path / "keys.json")
    assert file.read() is None
    file.write(FirstKeys(Secret("a"), None))
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert (tmp_path / "keys.json").read_text() == '{"api_key": null, "admin_key": "a"}'
    found = file.read()
    assert (found.admin_key.reveal(), found.api_key) == ("a", None)
    for broken in ("", "[]", "{}"):
        (tmp_path / "keys.json").write_text(broken)
        with pytest.raises(ValueError):
            file.read()


def test_a_pepper_is_made_once_and_read_after(tmp_path):
    path = tmp_path / "sub" / "pepper"
    (made,) = read_peppers(path, lambda count: b"r" * count)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_peppers(path, lambda count: b"s" * count) == (made,)
    path.write_text(f"{'ab' * 32}\n{made.value.hex()}\n")
    assert [pepper.value for pepper in read_peppers(path, bytes)] == [b"\xab" * 32, made.value]
    for broken in ("", "zz", "abcd"):
        path.write_text(broken)
        with pytest.raises(ValueError):
            read_peppers(path, bytes)
    with contextlib.suppress(FileNotFoundError):
        assert list(path.parent.iterdir()) == [path]
