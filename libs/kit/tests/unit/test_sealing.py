"""Sealing: only the right key, for the right thing, opens what nobody changed; keys are turned over one by one."""

import pytest

from tollgate_kit.sealing import CannotOpen, KeyRing, read_secrets

pytestmark = pytest.mark.unit
OLD, NEW = b"o" * 32, b"n" * 32
WORDS = b"what nobody may read"


def test_sealed_and_opened():
    ring = KeyRing([OLD])
    sealed = ring.seal(WORDS, b"row 1")
    assert WORDS not in sealed
    assert ring.open(sealed, b"row 1") == WORDS
    assert ring.seal(WORDS, b"row 1") != sealed


def test_a_new_key_before_the_old_one():
    sealed = KeyRing([OLD]).seal(WORDS, b"x")
    both = KeyRing([NEW, OLD])
    assert both.open(sealed, b"x") == WORDS
    assert KeyRing([NEW]).open(both.seal(WORDS, b"x"), b"x") == WORDS
    with pytest.raises(CannotOpen, match="not in the file"):
        KeyRing([NEW]).open(sealed, b"x")


def test_what_is_sealed_with_the_first_key_is_told_apart():
    old, both = KeyRing((b"a" * 32,)), KeyRing((b"b" * 32, b"a" * 32))
    sealed = old.seal(b"secret", b"about")
    assert old.is_current(sealed)
    assert not both.is_current(sealed)
    assert both.is_current(both.seal(both.open(sealed, b"about"), b"about"))
    assert not both.is_current(b"")


def test_what_cannot_be_opened():
    ring = KeyRing([OLD])
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


def test_a_file_is_made_once(tmp_path):
    path = tmp_path / "deep" / "keys"
    (first,) = read_secrets(path)
    assert len(first) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_secrets(path) == (first,)
    assert [one.name for one in path.parent.iterdir()] == ["keys"]
    path.write_text(f"{NEW.hex()}\n{first.hex()}\n")
    assert read_secrets(path) == (NEW, first)


@pytest.mark.parametrize("content", ["", "\n", "not hex\n"])
def test_a_file_without_secrets(tmp_path, content):
    path = tmp_path / "keys"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"secret|hex"):
        read_secrets(path)
