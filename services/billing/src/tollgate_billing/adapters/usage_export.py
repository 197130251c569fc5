"""Usage rows as a Parquet file, made day by day, so that a month of any size needs the memory of one day."""

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.domain.usage_export import Month

_AS_TEXT: Final = frozenset({"event_id", "corrects_event_id", "kind"})
_AS_FLAG: Final = frozenset({"final", "superseded", "estimated", "stream", "unpriced"})


class ClickHouseUsageExport:
    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def month(self, organization_id: str, month: Month, columns: Sequence[str]) -> AsyncIterator[bytes]:
        import pyarrow.parquet as pq

        sql = (
            f"SELECT {', '.join(map(_column, columns))} FROM usage_events AS r"  # noqa: S608 - constants; see domain.
            " WHERE r.organization_id = {organization:String}"
            " AND r.started_at >= {begin:DateTime('UTC')} AND r.started_at < {end:DateTime('UTC')}"
            " ORDER BY r.started_at, r.event_id"
        )
        sink = _Pieces()
        writer: Any = None
        for begin, end in month.days():
            table = await self._clickhouse.arrow(
                sql, {"organization": organization_id, "begin": f"{begin:%F %T}", "end": f"{end:%F %T}"}
            )
            if writer is None:
                writer = pq.ParquetWriter(sink, table.schema, compression="zstd")
            if table.num_rows:
                await asyncio.to_thread(writer.write_table, table)
            if piece := sink.taken():
                yield piece
        await asyncio.to_thread(writer.close)
        yield sink.taken()


def _column(name: str) -> str:
    if name in _AS_TEXT:
        return f"toString(r.{name}) AS {name}"
    if name in _AS_FLAG:
        return f"toBool(r.{name}) AS {name}"
    return f"r.`{name}` AS `{name}`"


class _Pieces(io.RawIOBase):
    """What is written, to be taken away as it comes; whoever writes only ever asks how far it is."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def taken(self) -> bytes:
        """Returns what came since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
