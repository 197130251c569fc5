"""For every test: no provider keys and no telemetry settings reach it, and it opens no connection beyond this machine.

Tests of parts that are not built yet stand in tests/waiting.txt, with the part they wait for. They run and must fail:
the day the part lands they pass, which is an error until the line is taken out.
"""

import ipaddress
import os
import socket
from pathlib import Path

import pytest

pytest_plugins = ["tests.servers.valkey"]

_PREFIXES = ("OTEL_", "TOLLGATE_")
_WAITING = Path(__file__).parent / "tests" / "waiting.txt"


def pytest_configure() -> None:
    for name in [name for name in os.environ if name.endswith("_API_KEY") or name.startswith(_PREFIXES)]:
        del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    waiting = dict(
        line.split(": ", 1)
        for line in _WAITING.read_text(encoding="utf-8").splitlines()
        if ": " in line and line[0] != "#"
    )
    for item in items:
        reason = waiting.get(item.nodeid)
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses connections to addresses that are not loopback."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and isinstance(address, tuple):
            host = str(address[0])
            if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
                raise AssertionError(f"a test reached for {host}, which is not this machine")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)
