"""Secrets at rest: what opens them, and what does not."""

import itertools
import os
import stat

import pytest

from tollgate_billing.adapters.sealing import CannotOpen, FileKeys, Sealer, read_keys

KEY, OTHER = b"k" * 32, b"o" * 32


def test_what_is_sealed_opens_about_the_same_thing_only():
    sealer = Sealer(FileKeys((KEY,)))
    for plain in (b"", b"https://hooks.example.com/x", os.urandom(5000)):
        sealed = sealer.seal(plain, "dst_1/destination")
        assert sealed.isascii()
        assert " " not in sealed
        assert sealer.open(sealed, "dst_1/destination") == plain
        assert sealer.seal(plain, "dst_1/destination") != sealed
        for broken in (Sealer(FileKeys((OTHER,))), sealer):
            about = "dst_1/destination" if broken is not sealer else "dst_2/destination"
            with pytest.raises(CannotOpen):
                broken.open(sealed, about)


def test_no_byte_can_be_changed():
    sealer = Sealer(FileKeys((KEY,)))
    sealed = sealer.seal(b"secret", "about")
    other = {place: "A" if found != "A" else "B" for place, found in enumerate(sealed)}
    changed = [sealed[:place] + found + sealed[place + 1 :] for place, found in other.items()]
    refused = []
    for one in (*changed, "", "plain", sealed[:-8], sealed + ".x", sealed.replace(".", "")):
        try:
            found = sealer.open(one, "about")
        except CannotOpen as error:
            refused.append(str(error))
        else:
            # The last characters of base64 have bits that say nothing.
            assert found == b"secret"
    assert len(refused) >= len(changed)
    assert not any("secret" in words for words in refused)


def test_keys_are_changed_by_wrapping_again():
    old = Sealer(FileKeys((KEY,)))
    sealed = old.seal(b"secret", "about")
    assert old.wrap_again(sealed) is None
    both = Sealer(FileKeys((OTHER, KEY)))
    again = both.wrap_again(sealed)
    assert again.split(".")[3] == sealed.split(".")[3]
    assert Sealer(FileKeys((OTHER,))).open(again, "about") == b"secret"
    with pytest.raises(CannotOpen):
        Sealer(FileKeys((OTHER,))).wrap_again(sealed)


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path):
    path, numbers = tmp_path / "state" / "secrets.key", itertools.count(1)
    first = read_keys(path, lambda size: bytes([next(numbers)]) * size)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path).current == first.current
    assert [one.name for one in path.parent.iterdir()] == ["secrets.key"]
    assert path.read_text().strip() not in repr(first)


@pytest.mark.parametrize("content", ["", "\n", "zz" * 32, "ab" * 31, "ab" * 32 + "\nabc", "äöü"])
def test_what_is_no_key_file_is_refused_without_repeating_it(tmp_path, content):
    path = tmp_path / "secrets.key"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="hex") as found:
        read_keys(path)
    assert not content.strip() or content.strip() not in str(found.value)
