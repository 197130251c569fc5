"""A process that ends or stands still at any call: before it did anything, or after it did all."""

import asyncio


class Crash(BaseException):
    """The process is gone; nothing of it goes on."""


class Fuse:
    """Counts down with each call that passes; raises Crash at 0. None never burns.

    `pause` counts down too; at 0 the caller, and nobody else, stands still until its gate in `gates` is opened.
    """

    def __init__(self, left=None):
        self.left = left
        self.pause = None
        self.gates = []

    def tick(self):
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            raise Crash

    async def rest(self):
        if self.pause is None:
            return
        self.pause -= 1
        if self.pause <= 0:
            self.pause = None
            gate = asyncio.Event()
            self.gates.append(gate)
            await gate.wait()


def guarded(method):
    """Lets the fuse burn before and after a call."""

    async def call(self, *args, **kwargs):
        self.fuse.tick()
        await self.fuse.rest()
        result = await method(self, *args, **kwargs)
        self.fuse.tick()
        await self.fuse.rest()
        return result

    return call
