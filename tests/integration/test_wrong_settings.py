"""A service whose settings are wrong ends with code 2 and a line for each, as docs/reference/settings.md promises."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

SECRET = "s3cr3t" * 4
SHARED = {
    "LOG_LEVEL": "verbose",
    "LOG_FORMAT": "xml",
    "ADMIN_ADDRESS": "foo",
    "EVENT_LOG_URL": "kafak://x",
}
SQL = {"DATABASE_URL": f"mysql://u:{SECRET}@h/d", "REDIS_URL": f"reddis://:{SECRET}@h:6379/0"}
BEHIND = {"ADDRESS": "nonsense", "CONFIG_ADDRESSES": ",", "STATE_DIRECTORY": "/nowhere"}
WRONG = {
    "edge": {
        **SQL,
        "GRPC_ADDRESS": "nonsense",
        "ROUTER_ADDRESSES": ",",
        "BILLING_ADDRESS": "billing",
        "MEDIA_ADDRESS": "media",
        "PUBLIC_URL": "nope",
        "SIMULATOR_URL": "127.0.0.1:80",
        "SPOOL_DIRECTORY": "/nowhere",
        "PEPPER_FILE": "/nowhere/pepper",
    },
    "router": {
        **BEHIND,
        "SPOOL_DIRECTORY": "/nowhere",
        "RESPONSES_KEYS": SECRET,
        "RESPONSES_DATABASE_URL": f"mysql://u:{SECRET}@h/d",
        "CA_FILE": "/nowhere/ca.pem",
    },
    "billing": {
        **BEHIND,
        **SQL,
        "CLICKHOUSE_DSN": f"clickhouse://u:{SECRET}@h/d",
        "SECRETS_KEYS": f"{'ab' * 32} {SECRET}",
        "PAYMENT_CHECKOUT_URL": "pay.example",
        "RUNBOOK_URL": "nope",
    },
    "media-jobs": {
        **BEHIND,
        **SQL,
        "ASSET_STORE_URL": f"s3://key:{SECRET}@bucket",
        "CA_FILE": "/nowhere/ca.pem",
    },
}
RIGHT = {"STATE_DIRECTORY", "SPOOL_DIRECTORY", "PEPPER_FILE"}


@pytest.mark.parametrize("service", WRONG)
def test_each_wrong_setting_is_named_and_no_secret_is_printed(service: str) -> None:
    settings = SHARED | WRONG[service]
    prefix = f"TOLLGATE_{service.upper().replace('-', '_')}_"
    done = subprocess.run(
        [sys.executable, "-m", f"tollgate_{service.replace('-', '_')}"],
        env={prefix + name: value for name, value in settings.items()} | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert sorted(line.partition(":")[0] for line in done.stderr.splitlines()) == sorted(
        prefix + name for name in settings.keys() - RIGHT
    )
    assert SECRET not in done.stderr
    assert "ab" * 32 not in done.stderr
