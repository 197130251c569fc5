"""Keys while the database does not say what has changed: how long they are used, and what /readyz says of it."""

import asyncio
from types import SimpleNamespace

import pytest
from services.edge.tests.fakes.stores import FakeKeyStore, FakeTenantStore, Memory
from tests.fuzz.counted_loop import run

from tollgate_edge.domain.keys import KEY_PREFIX, new_key, pepper_of
from tollgate_edge.errors import StoreUnavailable
from tollgate_edge.readiness import Readiness
from tollgate_edge.use_cases.authenticate import AWAY, REVOKED, UNKNOWN, KeyAuthenticator
from tollgate_edge.use_cases.create_key import CreateKey
from tollgate_edge.use_cases.look_up_keys import KeyLookups
from tollgate_kit.clock import ManualClock
from tollgate_kit.ids import CountingIds

pytestmark = pytest.mark.unit

PEPPER = pepper_of(b"n" * 32)
STRANGER = new_key(KEY_PREFIX, lambda count: b"s" * count).reveal().encode()
OTHER = new_key(KEY_PREFIX, lambda count: b"o" * count).reveal().encode()


class Setting:
    """A process with a cache of keys, which polls when the test says so."""

    def __init__(self):
        self.memory, self.clock = Memory(), ManualClock()
        self.store = FakeKeyStore(self.memory)
        self.authenticator = KeyAuthenticator(
            KeyLookups(self.store, pause_seconds=0),
            [PEPPER],
            self.clock,
            max_keys=100,
            max_unknown=100,
            unchecked_seconds=120,
        )
        self.readiness = Readiness(
            SimpleNamespace(key_unchecked_seconds=120.0),
            authenticator=self.authenticator,
            holds=None,
            alone=None,
            spool=None,
            publisher=None,
        )

    async def make(self):
        """Returns the record and the secret of a key that is remembered."""
        project = await FakeTenantStore(self.memory).ensure_project("org", "o", "USD", "proj", "p", 1)
        create = CreateKey(self.store, PEPPER, self.clock, CountingIds(), lambda count: b"k" * count)
        record, key = await create(project, "k")
        await self.poll()
        presented = key.reveal().encode()
        await self.authenticator.authenticate(presented)
        return record, presented

    async def poll(self):
        self.authenticator.apply(await self.store.changes_since(self.authenticator.sequence))

    def said(self):
        """Returns what /readyz says of keys: what keeps this process from serving, and what one should know."""
        return self.readiness.keys_cannot_be_checked(), self.readiness.keys_are_unchecked()


@pytest.fixture
def setting():
    return Setting()


async def test_a_key_that_was_revoked_elsewhere_is_used_for_so_long_at_a_process_that_is_cut_off(setting):
    record, key = await setting.make()
    await setting.store.revoke_key("org", record.id, 5)
    setting.memory.away = True
    setting.clock.advance(120)
    assert setting.authenticator.cached(key) is not None
    setting.clock.advance(1)
    assert setting.authenticator.cached(key) is None
    assert await setting.authenticator.authenticate(key) is AWAY
    # Keys can be read again, and still nobody says what has changed.
    setting.memory.away = False
    assert (await setting.authenticator.authenticate(key)).message == REVOKED.message
    assert setting.authenticator.cached(key) is None


async def test_what_did_not_change_meanwhile_is_used_again_at_once(setting):
    _, key = await setting.make()
    assert await setting.authenticator.authenticate(STRANGER) is UNKNOWN
    reads = setting.store.reads
    setting.clock.advance(1000)
    assert (setting.authenticator.cached(key), setting.authenticator.cached(STRANGER)) == (None, None)
    await setting.poll()
    assert setting.authenticator.cached(key) is not None
    assert setting.authenticator.cached(STRANGER) is UNKNOWN
    assert setting.store.reads == reads


async def test_readiness_says_how_long_nothing_was_heard_and_what_comes_of_it(setting):
    setting.clock.advance(1000)
    # Nothing is remembered yet, and others say what this process waits for.
    assert setting.said() == (None, None)
    await setting.make()
    setting.clock.advance(5)
    assert setting.said() == (None, None)
    setting.clock.advance(2)
    missing, note = setting.said()
    assert missing is None
    assert "for 7 s" in note
    assert "after 120 s" in note
    setting.clock.advance(120)
    missing, note = setting.said()
    assert "for 127 s" in missing
    assert note is None
    await setting.poll()
    assert setting.said() == (None, None)


def test_a_database_that_stands_still_is_waited_for_five_seconds():
    class Still(FakeKeyStore):
        async def find_keys(self, hashes):
            await asyncio.sleep(600)
            raise StoreUnavailable("away")

    async def main():
        loop, lookups = asyncio.get_running_loop(), KeyLookups(Still(Memory()), pause_seconds=0)
        authenticator = KeyAuthenticator(
            lookups, [PEPPER], ManualClock(), max_keys=1, max_unknown=1, unchecked_seconds=120
        )
        began = loop.time()
        assert await authenticator.authenticate(STRANGER) is AWAY
        assert loop.time() - began == 5
        # It is behind the one that is being read, and leaves nothing there.
        assert await authenticator.authenticate(OTHER) is AWAY
        assert not lookups._waiting
        await lookups._task

    run(main)
