"""What stops billing before it starts."""

import pytest

from tollgate_billing.settings import BillingSettings

pytestmark = pytest.mark.unit

NEEDED = {
    "address": "unix:/x",
    "config_addresses": "unix:/x",
    "state_directory": "x",
    "database_url": "sqlite:////x",
    "clickhouse_dsn": "chdb:///x",
    "redis_url": "unix:///x",
    "event_log_url": "sqlite:///x",
}


@pytest.mark.parametrize("content", ["", "zz" * 32, "ab" * 31, "ab" * 32 + "\nabc", "äöü"])
def test_a_file_without_keys_is_refused_and_not_repeated(tmp_path, content):
    file = tmp_path / "secrets.key"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="openssl rand -hex 32") as found:
        BillingSettings(**NEEDED, secrets_key_file=file)
    assert not content or content not in str(found.value)
    file.write_text("ab" * 32 + "\n" + "cd" * 32 + "\n", encoding="utf-8")
    assert BillingSettings(**NEEDED, secrets_key_file=file).secrets_key_file == file
    # One that is not there is made.
    assert BillingSettings(**NEEDED, secrets_key_file=tmp_path / "new").secrets_key_file == tmp_path / "new"


def test_keys_may_be_in_a_variable_in_place_of_a_file(tmp_path):
    made = BillingSettings(**NEEDED, secrets_keys="ab" * 32 + " " + "cd" * 32)
    assert made.sealing_keys() == (b"\xab" * 32, b"\xcd" * 32)
    assert "abab" not in repr(made)
    with pytest.raises(ValueError, match="openssl rand -hex 32") as found:
        BillingSettings(**NEEDED, secrets_keys="ab" * 31)
    assert "abab" not in str(found.value)
    with pytest.raises(ValueError, match="set one of them"):
        BillingSettings(**NEEDED, secrets_keys="ab" * 32, secrets_key_file=tmp_path / "new")
    left = {name: value for name, value in NEEDED.items() if name != "state_directory"}
    (key,) = BillingSettings(**left, state_directory=tmp_path).sealing_keys()
    assert (tmp_path / "secrets.key").read_text() == key.hex() + "\n"
