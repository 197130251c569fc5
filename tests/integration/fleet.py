"""Edge and router processes of a test's own beside a running product, and a balancer that obeys /readyz.

They share the product's database, Redis, event log, billing and simulated provider, so its books are theirs.
"""

import asyncio
import contextlib
import itertools
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.integration.product import Product
from tests.servers.process import Child, free_ports

from tollgate_cli.home import Home
from tollgate_cli.probe import get_json

START_SECONDS = 120.0
STOP_SECONDS = 120.0
LOOK_SECONDS = 0.05
# Apart from the slots of the product itself.
FIRST_SLOT = 50


class Member:
    """One process of the fleet, which `restart` replaces by another in its place."""

    def __init__(self, name: str, module: str, settings: dict[str, str], directory: Path, product: Product) -> None:
        self.name = name
        self.admin = f"unix:{directory / name}.admin"
        prefix = f"TOLLGATE_{module.upper().removeprefix('TOLLGATE_')}_"
        own = {prefix + key: value for key, value in (settings | {"ADMIN_ADDRESS": self.admin}).items()}
        self._child = Child(
            [sys.executable, "-m", module], directory / f"{name}.log", environment=product.environment | own
        )
        # As /readyz told them, from the first start on.
        self.states: list[str] = []

    def start(self) -> None:
        """Returns when the process is ready."""
        self._child.start(self.ready, START_SECONDS)

    def ready(self) -> bool:
        """Asks /readyz, and keeps the state that it tells."""
        try:
            status, body = get_json(self.admin, "/readyz")
        except OSError:
            return False
        if body and body["state"] not in self.states[-1:]:
            self.states.append(body["state"])
        return status == 200

    def stop(self) -> int:
        """Asks the process to end, waits for it and returns its exit code."""
        self._child.signal(signal.SIGTERM)
        assert self._child.process is not None
        try:
            return self._child.process.wait(STOP_SECONDS)
        finally:
            self._child.kill()

    def tail(self) -> str:
        """Returns the end of what the process printed."""
        return self._child.tail()

    def end(self) -> None:
        """Leaves no process behind, whatever happened."""
        self._child.stop()


class Balancer:
    """Passes connections on to the members that were ready when it looked last, in turn; it knows no HTTP."""

    def __init__(self, backends: dict[int, Member]) -> None:
        self._backends = backends
        self._ready: set[int] = set()
        self._turn = itertools.count()
        self._links: set[asyncio.Task[None]] = set()
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Balancer"]:
        """Listens and looks, while open."""
        await self._look()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        looking = asyncio.create_task(self._keep_looking())
        try:
            yield self
        finally:
            looking.cancel()
            server.close()
            for link in self._links:
                link.cancel()
            await asyncio.gather(looking, *self._links, return_exceptions=True)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        for port, member in self._backends.items():
            (self._ready.add if await asyncio.to_thread(member.ready) else self._ready.discard)(port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            far_reader, far_writer = await self._connect()
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, far_writer))
                both.create_task(_pass_on(far_reader, writer))
        except* ConnectionError:
            writer.transport.abort()
        finally:
            self._links.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Tries every member that was ready; whoever refuses has stopped to listen since."""
        ports = sorted(self._ready)
        first = next(self._turn)
        for offset in range(len(ports)):
            with contextlib.suppress(ConnectionRefusedError):
                return await asyncio.open_connection("127.0.0.1", ports[(first + offset) % len(ports)])
        raise ConnectionRefusedError


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


class Fleet:
    """Two edges, each on a port of its own, and two routers. `settings` are of both, without their prefix."""

    def __init__(self, product: Product, directory: Path, **settings: str) -> None:
        home = Home(product.home)
        shared = {"EVENT_LOG_URL": f"sqlite://{home.root / 'log' / 'events.sqlite'}"} | settings
        routers = [f"unix:{directory / f'router-{number}'}.sock" for number in range(2)]
        self.routers = [
            Member(
                f"router-{number}",
                "tollgate_router",
                shared
                | {
                    "SLOT": str(FIRST_SLOT + number),
                    "ADDRESS": address,
                    "CONFIG_ADDRESSES": f"unix:{home.socket('edge-0')}",
                    "STATE_DIRECTORY": str(directory / f"router-{number}-state"),
                    "SPOOL_DIRECTORY": str(directory / f"router-{number}-spool"),
                },
                directory,
                product,
            )
            for number, address in enumerate(routers)
        ]
        ports = free_ports(2)
        self.edges = [
            Member(
                f"edge-{number}",
                "tollgate_edge",
                shared
                | {
                    "SLOT": str(FIRST_SLOT + number),
                    "PORT": str(port),
                    "GRPC_ADDRESS": f"unix:{directory / f'edge-{number}'}.sock",
                    "ROUTER_ADDRESSES": ",".join(routers),
                    "BILLING_ADDRESS": f"unix:{home.socket('billing')}",
                    "MEDIA_ADDRESS": f"unix:{home.socket('media-jobs')}",
                    "REDIS_URL": f"unix://{home.socket('valkey')}",
                    "DATABASE_URL": f"sqlite:///{home.root / 'edge' / 'edge.sqlite'}",
                    "PEPPER_FILE": str(home.root / "edge" / "pepper"),
                    "SPOOL_DIRECTORY": str(directory / f"edge-{number}-spool"),
                },
                directory,
                product,
            )
            for number, port in enumerate(ports)
        ]
        self.balancer = Balancer(dict(zip(ports, self.edges, strict=True)))

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.balancer.port}/v1"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Fleet"]:
        """Starts all members and the balancer; ends them all."""
        members = (*self.routers, *self.edges)
        try:
            await asyncio.gather(*(asyncio.to_thread(member.start) for member in members))
            async with self.balancer.running():
                yield self
        finally:
            await asyncio.gather(*(asyncio.to_thread(member.end) for member in members))
