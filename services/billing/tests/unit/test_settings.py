"""What stops billing before it starts."""

import pytest

from tollgate_billing.settings import BillingSettings

pytestmark = pytest.mark.unit

NEEDED = dict.fromkeys(
    ("address", "config_addresses", "state_directory", "database_url", "clickhouse_dsn", "redis_url", "event_log_url"),
    "x",
)


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
