"""Sealing: only the right key, for the right thing, opens what nobody changed; keys are turned over one by one."""

import pytest

from tollgate_sealing.envelopes import CannotOpen, Envelopes, KeyRing

pytestmark = pytest.mark.unit
OLD, NEW = b"o" * 32, b"n" * 32
WORDS = b"what nobody may read"


def test_sealed_and_opened():
    ring = Envelopes(KeyRing([OLD]))
    sealed = ring.seal(WORDS, b"row 1")
    assert WORDS not in sealed
    assert ring.open(sealed, b"row 1") == WORDS
    assert ring.seal(WORDS, b"row 1") != sealed


def test_a_new_key_before_the_old_one():
    sealed = Envelopes(KeyRing([OLD])).seal(WORDS, b"x")
    both = Envelopes(KeyRing([NEW, OLD]))
    assert both.open(sealed, b"x") == WORDS
    assert Envelopes(KeyRing([NEW])).open(both.seal(WORDS, b"x"), b"x") == WORDS
    with pytest.raises(CannotOpen, match="not in the file"):
        Envelopes(KeyRing([NEW])).open(sealed, b"x")


def test_what_is_sealed_with_the_first_key_is_told_apart():
    old, both = Envelopes(KeyRing((b"a" * 32,))), Envelopes(KeyRing((b"b" * 32, b"a" * 32)))
    sealed = old.seal(b"secret", b"about")
    assert old.is_current(sealed)
    assert not both.is_current(sealed)
    assert both.is_current(both.seal(both.open(sealed, b"about"), b"about"))
    assert not both.is_current(b"")


def test_a_new_key_wraps_the_keys_of_values_again_and_leaves_what_they_seal():
    old, both, new = Envelopes(KeyRing([OLD])), Envelopes(KeyRing([NEW, OLD])), Envelopes(KeyRing([NEW]))
    sealed = old.seal(WORDS, b"x")
    renewed = both.renewed(sealed, b"x")
    assert (new.is_current(renewed), new.open(renewed, b"x")) == (True, WORDS)
    assert renewed[-len(WORDS) - 28 :] == sealed[-len(WORDS) - 28 :]
    for about, ring in ((b"y", both), (b"x", new)):
        with pytest.raises(CannotOpen):
            ring.renewed(sealed, about)
    # The key of one value is of no use for another one.
    other = old.seal(WORDS, b"x")
    head = len(sealed) - len(WORDS) - 28
    with pytest.raises(CannotOpen):
        old.open(other[:head] + sealed[head:], b"x")


def test_what_was_sealed_before_there_were_envelopes():
    ring = KeyRing([OLD])
    before = b"\x01" + ring.current + ring.wrap(WORDS, b"x")
    both = Envelopes(KeyRing([NEW, OLD]))
    assert both.open(before, b"x") == WORDS
    assert not Envelopes(ring).is_current(before)
    renewed = both.renewed(before, b"x")
    assert Envelopes(KeyRing([NEW])).open(renewed, b"x") == WORDS
    with pytest.raises(CannotOpen):
        both.open(before, b"y")


def test_keys_may_be_anywhere_that_wraps():
    class Elsewhere:
        """A service that wraps in a form of its own, and counts."""

        current, asked = b"v7\0\0", 0

        def wrap(self, data, about):
            self.asked += 1
            return b"vault:" + data[::-1] * 3

        def unwrap(self, key_id, wrapped, about):
            assert key_id == self.current
            return wrapped[6:38][::-1]

    envelopes = Envelopes(Elsewhere())
    assert envelopes.open(envelopes.seal(WORDS, b"x"), b"x") == WORDS


def test_what_cannot_be_opened():
    ring = Envelopes(KeyRing([OLD]))
    sealed = ring.seal(WORDS, b"row 1")
    with pytest.raises(CannotOpen):
        ring.open(sealed, b"row 2")
    for place in range(len(sealed)):
        changed = sealed[:place] + bytes((sealed[place] ^ 1,)) + sealed[place + 1 :]
        with pytest.raises(CannotOpen):
            ring.open(changed, b"row 1")
    for end in range(len(sealed)):
        with pytest.raises(CannotOpen):
            ring.open(sealed[:end], b"row 1")


@pytest.mark.parametrize("keys", [[], [b"short"], [OLD, b"x" * 33]])
def test_keys_of_the_wrong_length(keys):
    with pytest.raises(ValueError, match="32 bytes"):
        KeyRing(keys)
