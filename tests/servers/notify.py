"""The simulated receivers of notifications, as a process of their own."""

import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.servers.process import Child, accepts, free_ports


class Receivers:
    """One process with an HTTP and a mail port. `url` says where messages for a receiver are posted."""

    def __init__(self, folder: Path, arguments: Sequence[str] = (), verify: ssl.SSLContext | None = None) -> None:
        self.port, self.smtp_port = free_ports(2)
        ports = ["--http-port", str(self.port), "--smtp-port", str(self.smtp_port)]
        command = [sys.executable, "-m", "tollgate_simulator_notify", *ports, *arguments]
        self._child = Child(command, folder / "notify.log")
        self.url = f"http{'s' if verify else ''}://localhost:{self.port}"
        self._http = httpx.Client(base_url=self.url, timeout=150, trust_env=False, verify=verify or True)

    def start(self) -> "Receivers":
        """Returns itself when both ports answer."""
        self._child.start(lambda: accepts(self.port) and accepts(self.smtp_port))
        return self

    def stop(self) -> None:
        """Ends the process."""
        self._http.close()
        self._child.stop()

    def add(self, name: str, kind: str, secret: str = "") -> str:
        """Makes a receiver and returns its URL."""
        self._post("/_receivers", {"name": name, "kind": kind, "secret": secret})
        path = {
            "wecom": f"/wecom/cgi-bin/webhook/send?key={name}",
            "dingtalk": f"/dingtalk/robot/send?access_token={name}",
        }.get(kind, f"/{kind}/{name}")
        return f"{self.url}{path}"

    def fail(self, name: str, status: int, count: int = 1, retry_after: int = 0) -> None:
        """Makes the next answers of a receiver fail; a status of 0 takes the message and closes the connection."""
        fault = {"receiver": name, "status": status, "count": count, "retry_after": retry_after}
        self._post("/_faults", fault)

    def messages(self, name: str = "", count: int = 0, seconds: float = 0) -> list[dict[str, Any]]:
        """Returns what came for a receiver or for all, once there are `count` or after so many seconds."""
        query = {"receiver": name, "wait": str(count), "seconds": str(seconds)}
        return list(self._http.get("/_messages", params=query).json()["items"])

    def _post(self, path: str, body: dict[str, Any]) -> None:
        reply = self._http.post(path, json=body)
        assert reply.status_code == 200, reply.text
