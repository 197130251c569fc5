"""What holds for every test: no secrets, no network but the loopback, no time limits, and the real servers by name."""

import ipaddress
import os
import sys
from typing import Any

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.fixtures"]

# A test process or a product started by one must not find an account of the person who runs it, nor report elsewhere.
SCRUBBED_ENDINGS = ("_API_KEY", "_ACCESS_TOKEN", "_SECRET_ACCESS_KEY", "_ACCESS_KEY_ID")
SCRUBBED_PREFIXES = ("OTEL_", "TOLLGATE_", "AWS_", "OPENAI_", "ANTHROPIC_")


def pytest_configure() -> None:
    """Cleans the environment, refuses sockets to other machines, and takes the limits of time from Hypothesis."""
    settings.register_profile(
        "any-machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("any-machine")
    for name in list(os.environ):
        if name.endswith(SCRUBBED_ENDINGS) or name.startswith(SCRUBBED_PREFIXES):
            del os.environ[name]
    # Clients take proxies from the environment; the loopback is never behind one.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1"
    sys.addaudithook(_refuse_other_machines)


def _refuse_other_machines(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in {"socket.connect", "socket.sendto"} or not isinstance(arguments[1], tuple):
        return
    host = str(arguments[1][0])
    if host in {"localhost", ""}:
        return
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        address = None
    if address is None or not (address.is_loopback or address.is_unspecified):
        raise PermissionError(f"a test tried to reach {host}; all traffic stays on the loopback interface")
