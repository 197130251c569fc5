"""Holds over a connection that breaks: money that was held for a request that is refused comes back."""

import asyncio
import contextlib

import pytest
from tests.servers.valkey import RedisServer

from tollgate_edge.inference.admission import Admission
from tollgate_holds import HoldResult, Holds

pytestmark = pytest.mark.integration

ORGANIZATION = "org_admission"
FUNDS = 10**12
AMOUNT = 10**9


class Waiting:
    """A request that waits for its hold."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.admission_deadline = 1.0
        self.ticket = None
        self.result: asyncio.Future[HoldResult | None] = asyncio.get_running_loop().create_future()

    def admitted(self, result: HoldResult | None) -> None:
        self.result.set_result(result)


class Wire:
    """A way to the server that can lose replies, and refuses to connect while it is cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._clients: set[asyncio.StreamWriter] = set()
        self._serving: list[asyncio.Task[None]] = []
        self.losing = False
        self.cut = False
        self.lost = asyncio.Event()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def stop(self) -> None:
        self._server.close()
        self.drop()
        await asyncio.gather(*self._serving)
        await self._server.wait_closed()

    def drop(self) -> None:
        for writer in self._clients:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut:
            await _closed(writer)
            return
        self._clients.add(writer)
        self._serving.append(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, commands = await asyncio.open_connection("127.0.0.1", self._target)
        copying = asyncio.create_task(self._copy_answers(answers, writer))
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                commands.write(data)
        await _closed(commands)
        await copying
        self._clients.discard(writer)
        await _closed(writer)

    async def _copy_answers(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await answers.read(65536):
                if self.losing:
                    self.lost.set()
                else:
                    writer.write(data)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_a_hold_whose_reply_was_lost_is_given_back_when_its_request_is_refused(valkey: RedisServer) -> None:
    wire = Wire(valkey.port)
    holds, direct = Holds(await wire.start()), Holds(valkey.url)
    for one in (holds, direct):
        await one.start()
        assert await one.wait_ready(10)
    await direct.rebuild(ORGANIZATION, FUNDS)
    admission = Admission(holds, hold_ttl_seconds=300, slot_ttl_seconds=60, pause_seconds=0, on_no_wallet=pytest.fail)
    request = Waiting("req_lost")

    wire.losing = wire.cut = True
    admission.hold(ORGANIZATION, request, AMOUNT)
    await wire.lost.wait()
    assert (await direct.balance(ORGANIZATION)).held == AMOUNT
    wire.drop()
    while holds.ready:  # noqa: ASYNC110 - the pipe knows of no event for this.
        await asyncio.sleep(0.01)
    admission.expire(request.admission_deadline + 1)
    assert await request.result is None

    wire.losing = wire.cut = False
    assert await holds.wait_ready(10)
    async with asyncio.timeout(10):
        while (await direct.balance(ORGANIZATION)).held:  # noqa: ASYNC110 - Redis tells nobody.
            await asyncio.sleep(0.01)
    assert (await direct.balance(ORGANIZATION)).wallet == FUNDS
    for one in (holds, direct):
        await one.close()
    await wire.stop()
