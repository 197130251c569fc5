"""A body too long for its Open frame: one buffer for all of it, filled as its parts come."""

from typing import Final

from tollgate.exchange.v1 import exchange_pb2 as wire

NO_ROOM_FOR_BODY: Final = "The gateway holds too many request bodies. Try again in a moment."


class LongBody:
    __slots__ = ("_filled", "whole")

    def __init__(self, length: int, first: bytes | bytearray) -> None:
        self.whole = bytearray(length)
        self._filled = 0
        self.add(first)

    def add(self, data: bytes | bytearray) -> bool:
        """Takes the next part; returns whether it was the last. Raises ValueError for more than was announced."""
        begin, self._filled = self._filled, self._filled + len(data)
        if self._filled > len(self.whole):
            raise ValueError("edge sent more of a body than it announced")
        self.whole[begin : self._filled] = data
        return self._filled == len(self.whole)


def without_body(opened: wire.Open) -> wire.Open:
    """Returns the message on its own: it would keep the whole batch that it came in."""
    opened.ClearField("body")
    alone = wire.Open()
    alone.CopyFrom(opened)
    return alone
