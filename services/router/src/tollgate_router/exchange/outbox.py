"""Frames that wait for the next write of an Exchange stream. Data of one request that gathers is joined."""

import asyncio
from typing import Final

from tollgate.exchange.v1 import exchange_pb2 as wire

MAX_BATCH_BYTES: Final = 256 * 1024
MAX_BATCH_FRAMES: Final = 512


class Outbox:
    __slots__ = ("_bytes", "_credits", "_data", "_ends", "_go_away", "_heads", "urgent", "wake")

    def __init__(self) -> None:
        self._heads: list[wire.Head] = []
        self._data: dict[int, list[bytes]] = {}
        self._ends: list[wire.End] = []
        self._credits: list[wire.Credit] = []
        self._go_away = ""
        self._bytes = 0
        self.urgent = False
        self.wake = asyncio.Event()

    def head(self, frame: wire.Head) -> None:
        """Adds a Head, which begins a reply and so is urgent."""
        self._heads.append(frame)
        self.urgent = True
        self._woken()

    def data(self, frame_id: int, data: bytes) -> None:
        """Adds reply bytes behind what waits for the same request."""
        waiting = self._data.get(frame_id)
        if waiting is None:
            self._data[frame_id] = [data]
        else:
            waiting.append(data)
        self._bytes += len(data)
        self._woken()

    def end(self, frame: wire.End) -> None:
        """Adds an End; it leaves in the same batch as the request's last bytes or later."""
        self._ends.append(frame)
        self.urgent = True
        self._woken()

    def credit(self, frame_id: int, size: int) -> None:
        """Says that `size` bytes of the request's body were taken."""
        self._credits.append(wire.Credit(id=frame_id, bytes=size))
        self.urgent = True
        self._woken()

    def go_away(self, reason: str) -> None:
        """Asks edge for a second stream."""
        self._go_away = reason
        self.urgent = True
        self._woken()

    def drop(self, frame_id: int) -> None:
        """Forgets data of a request whose client is gone."""
        self._bytes -= sum(map(len, self._data.pop(frame_id, ())))

    def _woken(self) -> None:
        if not self.wake.is_set():
            self.wake.set()

    def take(self) -> list[bytes]:
        """Returns what waits as encoded batches and begins anew."""
        heads, data, ends, credits_ = self._heads, self._data, self._ends, self._credits
        size, go_away = self._bytes, self._go_away
        self._heads, self._data, self._ends, self._credits = [], {}, [], []
        self._bytes, self._go_away, self.urgent = 0, "", False
        self.wake.clear()
        if not (heads or data or ends or credits_ or go_away):
            return []
        last = wire.RouterBatch(
            head=heads,
            end=ends,
            credit=credits_,
            go_away=wire.GoAway(reason=go_away) if go_away else None,
        )
        if size <= MAX_BATCH_BYTES and len(heads) + len(data) + len(ends) <= MAX_BATCH_FRAMES:
            last.data.extend(
                [
                    wire.Data(id=frame_id, data=parts[0] if len(parts) == 1 else b"".join(parts))
                    for frame_id, parts in data.items()
                ]
            )
            return [last.SerializeToString()]
        return _split(heads, data, last)


def _split(heads: list[wire.Head], data: dict[int, list[bytes]], last: wire.RouterBatch) -> list[bytes]:
    """Cuts what is too much for one batch: heads first, then data within the limits, then all Ends."""
    del last.head[:]
    out = [wire.RouterBatch(head=heads[i : i + MAX_BATCH_FRAMES]) for i in range(0, len(heads), MAX_BATCH_FRAMES)]
    batch, size = wire.RouterBatch(), 0
    for frame_id, parts in data.items():
        joined = b"".join(parts)
        for at in range(0, len(joined), MAX_BATCH_BYTES):
            piece = joined[at : at + MAX_BATCH_BYTES]
            if size + len(piece) > MAX_BATCH_BYTES or len(batch.data) >= MAX_BATCH_FRAMES:
                out.append(batch)
                batch, size = wire.RouterBatch(), 0
            batch.data.add(id=frame_id, data=piece)
            size += len(piece)
    out += [batch, last]
    return [part.SerializeToString() for part in out]
