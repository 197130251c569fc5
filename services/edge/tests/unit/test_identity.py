"""Keys, the table of public errors, and who a key belongs to."""

import asyncio
import hashlib
import json

import pytest
from services.edge.tests.fakes.stores import FakeKeyStore, FakeLimitStore, FakeTenantStore, Memory

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.domain.keys import (
    IMPORTED,
    KEY_PREFIX,
    TOKEN_PREFIX,
    Secret,
    is_well_formed,
    keyed_hash,
    new_key,
    pepper_of,
)
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import from_wire, public_error, render_openai
from tollgate_edge.use_cases.authenticate import AWAY, EXPIRED, MALFORMED, REVOKED, UNKNOWN, KeyAuthenticator
from tollgate_edge.use_cases.create_key import CreateKey
from tollgate_edge.use_cases.import_keys import ForeignKey, ImportKeys
from tollgate_edge.use_cases.look_up_keys import KeyLookups
from tollgate_kit.clock import ManualClock
from tollgate_kit.ids import CountingIds

pytestmark = pytest.mark.unit

PEPPER, OLD = pepper_of(b"n" * 32), pepper_of(b"o" * 32)


def a_key(number=1, prefix=KEY_PREFIX):
    return new_key(prefix, lambda count: number.to_bytes(count, "big"))


def test_a_key_holds_192_random_bits_and_a_checksum():
    asked = []
    new_key(KEY_PREFIX, lambda count: asked.append(count) or b"\xff" * count)
    assert asked == [24]
    low, high = a_key(0).reveal(), a_key(2**192 - 1).reveal()
    assert len(low) == len(high) == 45
    assert low.startswith("sk-tg-")
    assert low != high
    assert a_key(1, TOKEN_PREFIX).reveal().startswith("pat-tg-")


@pytest.mark.parametrize("prefix", [KEY_PREFIX, TOKEN_PREFIX])
def test_any_changed_character_is_noticed_without_asking_the_store(prefix):
    key = a_key(2**190 + 12345, prefix).reveal()
    assert is_well_formed(key.encode())
    for position in range(len(prefix), len(key)):
        changed = key[:position] + ("0" if key[position] != "0" else "1") + key[position + 1 :]
        assert not is_well_formed(changed.encode())
    for other in (b"", key.encode() + b"0", key[:-1].encode(), b"\xff" * 45, b"x" * 10_000, key.upper().encode()):
        assert not is_well_formed(other)


def test_a_secret_never_shows_itself_by_accident():
    key = a_key(7)
    assert key.reveal() not in f"{key} {key!r} {[key]} {PEPPER!r}"
    assert f"{Secret('x')}" == "***"


def test_hashes_depend_on_the_pepper_and_its_id_gives_nothing_away():
    assert keyed_hash(b"k", PEPPER) != keyed_hash(b"k", OLD)
    assert len(keyed_hash(b"k", PEPPER)) == 64
    assert PEPPER.id != OLD.id
    assert PEPPER.value.hex() not in PEPPER.id
    with pytest.raises(ValueError):
        pepper_of(b"short")


@pytest.mark.parametrize("kind", errors.ErrorKind.values())
def test_every_kind_has_a_status_a_code_and_words(kind):
    error = public_error(kind)
    assert 400 <= error.status <= 504
    body = json.loads(render_openai(error, "req_1"))
    assert set(body["error"]) == {"message", "type", "param", "code", "doc_url"}
    assert all(body["error"][name] for name in ("message", "code", "type"))
    assert body["error"]["param"] is None
    if kind not in {errors.ERROR_KIND_UNSPECIFIED, errors.ERROR_KIND_INTERNAL}:
        assert error.code != "internal_error"
    assert ("req_1" in body["error"]["message"]) == (error.status >= 500)


def test_internal_failures_keep_their_words_to_themselves():
    for kind in (errors.ERROR_KIND_INTERNAL, errors.ERROR_KIND_UNSPECIFIED, 9999):
        error = public_error(kind, "password is hunter2", "p", "c")
        assert (error.status, error.code, error.param) == (500, "internal_error", "")
        assert b"hunter2" not in render_openai(error, "req_1")


def test_money_gone_is_not_to_be_tried_again_and_a_wait_is_named():
    error = public_error(errors.ERROR_KIND_INSUFFICIENT_QUOTA)
    assert (error.status, error.code, error.headers["x-should-retry"]) == (429, "insufficient_quota", "false")
    error = from_wire(errors.Error(kind=errors.ERROR_KIND_RATE_LIMITED, message="slow", param="x", retry_after_ms=1500))
    assert (error.message, error.param) == ("slow", "x")
    assert (error.headers["retry-after"], error.headers["retry-after-ms"]) == ("2", "1500")
    assert "x-should-retry" not in error.headers
    changed = error.with_status(405, allow="POST")
    assert (changed.status, changed.headers["allow"], changed.headers["retry-after"]) == (405, "POST", "2")
    assert error.status == 429


class Setting:
    def __init__(self, memory, peppers=(PEPPER,), max_keys=100, max_unknown=3, turns=None):
        self.memory, self.clock = memory, ManualClock()
        self.store, self.peppers = FakeKeyStore(memory), peppers
        self.turns = turns
        lookups = KeyLookups(self.store, pause_seconds=0.05, most_waiting=250, sleep=self._pause)
        self.authenticator = KeyAuthenticator(
            lookups, peppers, self.clock, max_keys=max_keys, max_unknown=max_unknown, unchecked_seconds=120
        )
        numbers = iter(range(1, 1000))
        self.create = CreateKey(
            self.store, peppers[0], self.clock, CountingIds(), lambda count: next(numbers).to_bytes(count, "big")
        )

    async def _pause(self, seconds):
        """Ends at once, or with the test's `turns` when there are any."""
        assert seconds == 0.05
        if self.turns is not None:
            await self.turns.acquire()

    async def make(self, project="p", organization="o", **named):
        ids = ("org", "proj") if organization == "o" else (f"org_{organization}", f"proj_{project}")
        project = await FakeTenantStore(self.memory).ensure_project(ids[0], organization, "USD", ids[1], project, 1)
        record, key = await self.create(project, "k", **named)
        await self.poll()
        return record, key.reveal().encode()

    async def poll(self):
        self.authenticator.apply(await self.store.changes_since(self.authenticator.sequence))


@pytest.fixture
def setting():
    return Setting(Memory())


async def test_a_key_is_read_once_and_then_known(setting):
    record, key = await setting.make(models=("gpt",))
    assert setting.authenticator.cached(key) is None
    found = await setting.authenticator.authenticate(key)
    assert found == Principal(record.id, "org", "proj", models=frozenset({"gpt"}))
    assert setting.authenticator.cached(key) == found
    await setting.authenticator.authenticate(key)
    assert setting.store.reads == 1


async def test_callers_of_one_key_at_once_share_one_read(setting):
    _, key = await setting.make()
    found = await asyncio.gather(*(setting.authenticator.authenticate(key) for _ in range(20)))
    assert len(set(found)) == 1
    assert setting.store.reads == 1


async def test_what_cannot_be_a_key_never_reaches_the_store(setting):
    assert setting.authenticator.cached(b"sk-live-x") is MALFORMED
    assert await setting.authenticator.authenticate(b"\xff") is MALFORMED
    assert setting.store.reads == 0


async def test_a_revocation_is_effective_with_the_next_poll(setting):
    record, key = await setting.make()
    _, other = await setting.make()
    await setting.authenticator.authenticate(key)
    await setting.authenticator.authenticate(other)
    await setting.store.revoke_key("org", record.id, 5)
    await setting.poll()
    assert setting.authenticator.cached(key) is None
    assert setting.authenticator.cached(other) is not None
    assert (await setting.authenticator.authenticate(key)).message == REVOKED.message


@pytest.mark.parametrize("owner", ["proj", "org", "key"])
async def test_limits_are_effective_with_the_next_poll(setting, owner):
    record, key = await setting.make()
    _, other = await setting.make(project="q", organization="another")
    assert (await setting.authenticator.authenticate(key)).limits is None
    await setting.authenticator.authenticate(other)
    owner_id = record.id if owner == "key" else owner
    await FakeLimitStore(setting.memory).set_limits(owner_id, {"concurrency": 4}, 1)
    await setting.poll()
    assert setting.authenticator.cached(key) is None
    assert setting.authenticator.cached(other) is not None
    assert [one.slots for one in (await setting.authenticator.authenticate(key)).limits.scopes] == [4]


async def test_an_unknown_key_is_remembered_until_a_key_is_made(setting):
    stranger = a_key(2**100).reveal().encode()
    assert await setting.authenticator.authenticate(stranger) is UNKNOWN
    assert setting.authenticator.cached(stranger) is UNKNOWN
    await setting.make()
    assert setting.authenticator.cached(stranger) is None


async def test_unknown_keys_and_known_ones_take_bounded_room():
    setting = Setting(Memory(), max_keys=2, max_unknown=3)
    strangers = [a_key(2**100 + number).reveal().encode() for number in range(5)]
    for stranger in strangers:
        await setting.authenticator.authenticate(stranger)
    assert [setting.authenticator.cached(one) for one in strangers] == [None, None, UNKNOWN, UNKNOWN, UNKNOWN]
    keys = [(await setting.make())[1] for _ in range(3)]
    for key in keys:
        await setting.authenticator.authenticate(key)
    assert setting.authenticator.size == 2
    assert setting.authenticator.cached(keys[0]) is None


async def test_a_key_expires_while_it_is_cached(setting):
    _, key = await setting.make(expires_at_us=setting.clock.now_us() + 10_000_000)
    assert isinstance(await setting.authenticator.authenticate(key), Principal)
    setting.clock.advance(10)
    assert (setting.authenticator.cached(key)).message == EXPIRED.message


async def test_a_row_that_was_read_before_a_change_is_not_kept(setting):
    record, key = await setting.make()
    read = setting.store.find_keys

    async def slow(hashes):
        found = await read(hashes)
        if setting.store.reads == 1:
            # The key is revoked, and the poll sees it, while the first answer is on its way.
            await setting.store.revoke_key("org", record.id, 5)
            await setting.poll()
        return found

    setting.store.find_keys = slow
    assert (await setting.authenticator.authenticate(key)).message == REVOKED.message
    assert setting.store.reads == 2


async def test_a_store_that_is_away_is_no_refusal_and_is_not_remembered(setting):
    _, key = await setting.make()
    setting.memory.away = True
    assert await setting.authenticator.authenticate(key) is AWAY
    assert AWAY.kind == errors.ERROR_KIND_UNAVAILABLE
    setting.memory.away = False
    assert isinstance(await setting.authenticator.authenticate(key), Principal)


async def settle_down():
    """Lets everything run that does not wait for the test."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_storm_of_unknown_keys_reads_once_a_turn_and_a_known_key_is_found_among_them():
    setting = Setting(Memory(), max_unknown=1000, turns=asyncio.Semaphore(0))
    _, key = await setting.make()
    storm = [a_key(2**100 + number).reveal().encode() for number in range(249)]
    asked = [asyncio.create_task(setting.authenticator.authenticate(one)) for one in (*storm, key)]
    await settle_down()
    # The first key is read at once, and whoever came with it.
    assert setting.store.reads == 1
    late = asyncio.create_task(setting.authenticator.authenticate(a_key(7).reveal().encode()))
    again = asyncio.create_task(setting.authenticator.authenticate(storm[200]))
    for turn in range(2, 5):
        setting.turns.release()
        await settle_down()
        assert setting.store.reads == min(turn, 3)
    found = await asyncio.gather(*asked, late, again)
    assert found[:249] == [UNKNOWN] * 249
    assert isinstance(found[249], Principal)
    assert found[250:] == [UNKNOWN, UNKNOWN]


async def test_whoever_waits_behind_too_many_is_told_that_keys_cannot_be_checked():
    setting = Setting(Memory(), max_unknown=1000, turns=asyncio.Semaphore(0))
    storm = [a_key(2**100 + number).reveal().encode() for number in range(400)]
    asked = [asyncio.create_task(setting.authenticator.authenticate(one)) for one in storm]
    await settle_down()
    for _ in range(5):
        setting.turns.release()
    found = await asyncio.gather(*asked)
    assert found.count(AWAY) == 150
    assert found.count(UNKNOWN) == 250
    # They were not remembered as unknown.
    assert setting.authenticator.cached(storm[found.index(AWAY)]) is None
    assert await setting.authenticator.authenticate(storm[found.index(AWAY)]) is UNKNOWN


async def test_a_read_that_fails_leaves_nobody_waiting(setting):
    async def broken(hashes):
        raise RuntimeError("a bug")

    _, key = await setting.make()
    read, setting.store.find_keys = setting.store.find_keys, broken
    assert await asyncio.wait_for(setting.authenticator.authenticate(key), 30) is AWAY
    setting.store.find_keys = read
    assert isinstance(await setting.authenticator.authenticate(key), Principal)


async def test_keys_of_an_older_pepper_are_still_accepted():
    memory = Memory()
    _, key = await Setting(memory, peppers=(OLD,)).make()
    rotated = Setting(memory, peppers=(PEPPER, OLD))
    assert isinstance(await rotated.authenticator.authenticate(key), Principal)
    assert await Setting(memory, peppers=(PEPPER,)).authenticator.authenticate(key) is UNKNOWN


async def test_whoever_lost_track_of_changes_forgets_all(setting):
    _, key = await setting.make()
    await setting.authenticator.authenticate(key)
    setting.authenticator.apply(await setting.store.changes_since(10_000))
    assert setting.authenticator.cached(key) is None


async def test_keys_are_remembered_again_after_a_database_was_put_back_from_a_copy(setting):
    _, key = await setting.make()
    for number in range(5):
        setting.memory.bump("key", f"hash {number}")
    await setting.poll()
    copy, setting.memory.changes[:] = setting.memory.changes[:1], []
    setting.memory.changes += copy
    await setting.poll()
    await setting.authenticator.authenticate(key)
    assert setting.authenticator.cached(key) is not None
    reads = setting.store.reads
    await setting.poll()
    await setting.authenticator.authenticate(key)
    assert setting.store.reads == reads


FOREIGN = b"sk-" + b"aB3" * 16


async def take_over(setting, *keys, **more):
    """Imports keys of another gateway, and hears of it as a process does."""
    project = await FakeTenantStore(setting.memory).ensure_project("org", "o", "USD", "proj", "p", 1)
    tenants = FakeTenantStore(setting.memory)
    use_case = ImportKeys(setting.store, tenants, setting.peppers, setting.clock, CountingIds())
    made = await use_case(project, [ForeignKey(hashlib.sha256(key).digest(), "old", **more) for key in keys])
    setting.authenticator.imported = await tenants.is_done(IMPORTED)
    await setting.poll()
    return made


async def test_a_key_of_another_gateway_is_good_once_it_was_imported(setting):
    assert setting.authenticator.cached(FOREIGN) is MALFORMED
    (made,) = await take_over(setting, FOREIGN, models=("gpt",))
    found = await setting.authenticator.authenticate(FOREIGN)
    assert found == Principal(made.id, "org", "proj", models=frozenset({"gpt"}))
    assert setting.authenticator.cached(FOREIGN) == found
    # A key of our own is found beside it.
    record, key = await setting.make()
    assert (await setting.authenticator.authenticate(key)).api_key_id == record.id


async def test_who_knows_what_is_stored_of_an_imported_key_has_no_key(setting):
    await take_over(setting, FOREIGN)
    digest = hashlib.sha256(FOREIGN)
    (stored,) = setting.memory.keys
    assert digest.hexdigest() != stored
    for presented in (digest.digest(), digest.hexdigest().encode(), b"\0sha256\0" + digest.digest(), stored.encode()):
        found = await setting.authenticator.authenticate(presented)
        assert found in (UNKNOWN, MALFORMED)


async def test_what_cannot_be_a_key_of_anybody_never_reaches_the_store(setting):
    await take_over(setting, FOREIGN)
    reads = setting.store.reads
    for presented in (b"short", b"x" * 513, b"with a blank in it", b"\xe4" * 20, b"sk-tg-" + b"x" * 39, b"a\0" * 20):
        assert await setting.authenticator.authenticate(presented) is MALFORMED
    assert setting.store.reads == reads


async def test_an_imported_key_is_revoked_like_any_other_and_stays_so(setting):
    (made,) = await take_over(setting, FOREIGN)
    await setting.authenticator.authenticate(FOREIGN)
    await setting.store.revoke_key("org", made.id, 5)
    await setting.poll()
    assert (await setting.authenticator.authenticate(FOREIGN)).message == REVOKED.message
    again = await take_over(setting, FOREIGN, b"another-key-of-theirs")
    assert [one.is_new for one in again] == [False, True]
    assert again[0].id == made.id
    assert (await setting.authenticator.authenticate(FOREIGN)).message == REVOKED.message


async def test_keys_imported_under_an_earlier_pepper_are_known(setting):
    (made,) = await take_over(setting, FOREIGN)
    later = Setting(setting.memory, peppers=(pepper_of(b"n" * 32), PEPPER))
    (again,) = await take_over(later, FOREIGN)
    assert (again.id, again.is_new) == (made.id, False)
    assert (await later.authenticator.authenticate(FOREIGN)).api_key_id == made.id
