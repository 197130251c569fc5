"""A way from edge to a router that a test can cut, or have fall silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Between:
    """Listens at `path` and copies to the socket `target`. While it is silent connections stay and nothing passes.

    `cuts` are the ends of connections that were cut, `pieces` what has passed, in either direction.
    """

    def __init__(self, path: str, target: str) -> None:
        self.path, self._target = path, target
        self.cuts = self.pieces = 0
        self._away = False
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
            # A copy that had not begun ends without closing anything; what is accepted last finds nobody.
            self._away = True
            self._end_all()
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
        if self._away:
            writer.transport.abort()
            commands.transport.abort()
            return
        self._writers |= {writer, commands}
        self._copying |= {asyncio.create_task(self._copy(*ends)) for ends in ((reader, commands), (answers, writer))}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65_536):
                    await self._passing.wait()
                    self.pieces += 1
                    writer.write(data)
        finally:
            self._writers.discard(writer)
            writer.close()

    def cut(self) -> None:
        """Ends all connections at once, whatever is under way; new ones pass."""
        self.cuts += len(self._writers)
        self._end_all()

    def _end_all(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    def go_away(self) -> None:
        """Ends all connections, and new ones at once, until it goes on."""
        self._away = True
        self.cut()

    def fall_silent(self) -> None:
        """Nothing passes any more."""
        self._passing.clear()

    def go_on(self) -> None:
        """What waits passes, and connections are made again."""
        self._away = False
        self._passing.set()
