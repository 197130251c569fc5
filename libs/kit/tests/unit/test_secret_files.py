"""Secrets in files: made once, for nobody else to read."""

import pytest

from tollgate_kit.secret_files import read_secrets

pytestmark = pytest.mark.unit
NEW = b"n" * 32


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
