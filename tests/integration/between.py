"""A way from edge to a router that a test can cut, or have fall silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Between:
    """Listens at `path` and copies to the socket `target`. While it is silent connections stay and nothing passes."""

    def __init__(self, path: str, target: str) -> None:
        self.path, self._target = path, target
        self.cuts = 0
        self._passing = asyncio.Event()
        self._passing.set()
        self._copying: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Is there for as long as the context."""
        server = await asyncio.start_unix_server(self._serve, self.path)
        try:
            yield
        finally:
            server.close()
            for task in self._copying:
                task.cancel()
            await asyncio.gather(*self._copying, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many ends of connections are open."""
        return len(self._writers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, commands = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, commands}
        self._copying |= {asyncio.create_task(self._copy(*ends)) for ends in ((reader, commands), (answers, writer))}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65_536):
                    await self._passing.wait()
                    writer.write(data)
        finally:
            self._writers.discard(writer)
            writer.close()

    def cut(self) -> None:
        """Ends all connections at once, whatever is under way; new ones pass."""
        self.cuts += len(self._writers)
        for writer in tuple(self._writers):
            writer.transport.abort()

    def fall_silent(self) -> None:
        """Nothing passes any more."""
        self._passing.clear()

    def go_on(self) -> None:
        """What waits passes."""
        self._passing.set()
