"""A peer that runs: started in an empty directory and an empty environment, counted with all its children, stopped."""

import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.peers.declared import Peer
from benchmarks.processes import stop
from benchmarks.subject import Subject

START_SECONDS = 180
STOP_SECONDS = 10
POLL_SECONDS = 0.1


class PeerFailed(Exception):  # noqa: N818 - a state of the peer.
    """It did not start, or did not answer as it should; says what it printed."""


@contextlib.contextmanager
def started(peer: Peer, directory: Path, upstream: int) -> Iterator[Subject]:
    """Runs a peer in front of the upstream. Raises PeerFailed."""
    directory.mkdir(parents=True)
    places = {"{home}": str(peer.home), "{directory}": str(directory), "{upstream}": str(upstream)}
    places["{port}"] = str(port := _free_port())
    for name, text in peer.files.items():
        (directory / name).write_text(_filled(text, places))
    # Nothing of ours is handed on: no key, no proxy, no setting.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory), "TMPDIR": str(directory)}
    environment |= {name: _filled(value, places) for name, value in peer.environment.items()}
    command = [_filled(part, places) for part in peer.command]
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        _wait(peer, process, port, directory / "output")
        headers = {name: _filled(value, places) for name, value in peer.headers.items()}
        yield Subject(peer.name, port, headers, peer.model, [process.pid], peer.events)
    finally:
        stop(process, STOP_SECONDS)


def _filled(text: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():
        text = text.replace(name, value)
    return text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(peer: Peer, process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    last = time.monotonic() + START_SECONDS
    while time.monotonic() < last and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", peer.ready)
            if connection.getresponse().status < 500:
                connection.close()
                return
        connection.close()
        time.sleep(POLL_SECONDS)
    raise PeerFailed(f"{peer.name} did not start: {output.read_text(errors='replace')[-1500:]}")
