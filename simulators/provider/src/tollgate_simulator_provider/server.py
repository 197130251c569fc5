"""Runs the application: command line, sockets, and what ends the process."""

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
from pathlib import Path

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tollgate_simulator_provider.app import Simulator
from tollgate_simulator_provider.ledger import Ledger

BACKLOG = 1024


class _Connection(HttpToolsProtocol):
    """Hands the transport to the application, which may break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio hands in what has both ends.
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def run(arguments: list[str]) -> None:
    """Serves until SIGTERM, SIGINT or the closing of the supervisor's pipe."""
    options = _parser().parse_args(arguments)
    listener = _listener(options)
    ledger = Ledger(options.ledger)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(options, listener, ledger))
    finally:
        ledger.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tollgate_simulator_provider", description="A simulated model provider.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one")
    parser.add_argument("--listen-fd", type=int, default=-1, help="a listening socket to use instead")
    parser.add_argument("--supervisor-fd", type=int, default=-1, help="a pipe; the process ends when it closes")
    parser.add_argument("--ready-fd", type=int, default=-1, help="gets a line of JSON with the port when it listens")
    parser.add_argument("--ledger", type=Path, help="file to which everything accepted is appended")
    parser.add_argument("--api-key", default="", help="bearer token that is demanded; none by default")
    return parser


def _listener(options: argparse.Namespace) -> socket.socket:
    if options.listen_fd >= 0:
        return socket.socket(fileno=options.listen_fd)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    return socket.create_server((options.host, options.port), family=family, backlog=BACKLOG)


async def _serve(options: argparse.Namespace, listener: socket.socket, ledger: Ledger) -> None:
    config = uvicorn.Config(
        Simulator(ledger, options.api_key),
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        backlog=BACKLOG,
    )
    logging.getLogger("uvicorn.error").addFilter(_unexpected)
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    # Uvicorn raises the signal again when it is done; the process is to end with 0 all the same.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if options.supervisor_fd >= 0:
        loop.add_reader(options.supervisor_fd, stop)
    if options.ready_fd >= 0:
        os.write(options.ready_fd, json.dumps({"port": listener.getsockname()[1]}).encode() + b"\n")
        os.close(options.ready_fd)
    await server.serve(sockets=[listener])


def _unexpected(record: logging.LogRecord) -> bool:
    """Keeps quiet about replies that end unfinished, which is what some faults are."""
    return "without completing response" not in record.getMessage()
