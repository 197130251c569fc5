"""A process that ends at any call: before it did anything, or after it did all."""


class Crash(BaseException):
    """The process is gone; nothing of it goes on."""


class Fuse:
    """Counts down with each call that passes; raises Crash at 0. None never burns."""

    def __init__(self, left=None):
        self.left = left

    def tick(self):
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            raise Crash


def guarded(method):
    """Lets the fuse burn before and after a call."""

    async def call(self, *args, **kwargs):
        self.fuse.tick()
        result = await method(self, *args, **kwargs)
        self.fuse.tick()
        return result

    return call
