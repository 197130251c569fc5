"""Usage rows that are made again: collected in a table beside the others, which then get all of them at once.

Attached parts run through no view: rollups that still have the sums of lost rows do not get them twice.
"""

from collections.abc import Collection
from typing import Any, Final

from tollgate_billing.adapters.arrow import arrow_table
from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.usage_store import HISTORY, KINDS, ClickHouseUsageStore
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import ROW_LOST
from tollgate_billing.domain.rows import Block
from tollgate_billing.errors import InvalidQuery, UsageStoreUnavailable

_BESIDE: Final = "usage_events_rebuilt"
_PLACE: Final = "src_epoch, src_topic, src_partition, src_offset, src_index"
_SOURCE: Final = "src_epoch = {epoch:String} AND src_topic = {topic:String} AND src_partition = {partition:UInt16}"
_BATCHES: Final = f"""
SELECT DISTINCT batch FROM usage_events WHERE {_SOURCE} AND src_offset >= {{low:UInt64}}
"""  # noqa: S608 - constants; everything else is a parameter.
_OPEN: Final = f"""
SELECT DISTINCT request_id FROM usage_events
WHERE {_SOURCE} AND src_offset < {{low:UInt64}} AND kind = 'usage' AND final AND NOT superseded
  AND (status = 'settled' OR status != 'confirmed' AND logged_at >= fromUnixTimestamp64Micro({{since:Int64}}))
"""  # noqa: S608 - constants; everything else is a parameter.
_MISMATCHES: Final = "SELECT event_id FROM usage_mismatches WHERE batch IN {names:Array(String)}"
_LETTERS: Final = """
SELECT offset FROM usage_poison
WHERE topic = {topic:String} AND partition = {partition:UInt16} AND offset >= {low:UInt64} AND offset < {high:UInt64}
"""
_ASIDE: Final = """
SELECT DISTINCT offset FROM usage_poison
WHERE topic = {topic:String} AND partition = {partition:UInt16} AND offset >= {low:UInt64} AND reason = {reason:String}
"""
_TWICE: Final = f"""
SELECT count() FROM usage_events
WHERE src_offset >= (SELECT min(src_offset) FROM {_BESIDE}) AND src_offset <= (SELECT max(src_offset) FROM {_BESIDE})
  AND ({_PLACE}) IN (SELECT {_PLACE} FROM {_BESIDE})
"""  # noqa: S608 - constants.
_PARTITIONS: Final = """
SELECT DISTINCT partition_id FROM system.parts
WHERE database = currentDatabase() AND table = {table:String} AND active AND rows > 0 ORDER BY partition_id
"""


class RebuildingUsageStore(ClickHouseUsageStore):
    """The usage store for batches that are decided again: earlier rows are those of both tables."""

    _history = HISTORY.replace(
        "FROM usage_events\n",
        f"FROM (SELECT * FROM usage_events UNION ALL SELECT * FROM {_BESIDE})\n",  # noqa: S608 - constants.
    )

    def __init__(self, clickhouse: ClickHouse) -> None:
        super().__init__(clickhouse)
        self._added = 0

    async def _rows(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        # Booking does not wait for any of it.
        return await self._clickhouse.rows(sql, parameters, aside=True)

    def make_ready(self, rows: Block) -> None:
        """Makes nothing: most of these rows are there."""

    async def begin(self) -> None:
        if self._clickhouse.replicated:
            raise InvalidQuery("usage of a cluster is not rebuilt: nobody has tried it on one")
        await self.drop()
        await self._clickhouse.command(f"CREATE TABLE {_BESIDE} AS usage_events")
        self._added = 0

    async def drop(self) -> None:
        await self._clickhouse.command(f"DROP TABLE IF EXISTS {_BESIDE} SYNC")

    async def batches(self, source: Bounds) -> list[str]:
        return [row["batch"] for row in await self._rows(_BATCHES, _about(source) | {"low": source.low})]

    async def open_requests(self, before: Bounds, since_us: int) -> set[str]:
        rows = await self._rows(_OPEN, _about(before) | {"low": before.low, "since": since_us})
        return {row["request_id"] for row in rows}

    async def mismatched(self, batches: Collection[str]) -> set[bytes]:
        return {row["event_id"].bytes for row in await self._rows(_MISMATCHES, {"names": sorted(batches)})}

    async def letters(self, bounds: Bounds) -> set[int]:
        about = {"topic": bounds.topic, "partition": bounds.partition, "low": bounds.low, "high": bounds.high}
        return {row["offset"] for row in await self._rows(_LETTERS, about)}

    async def set_aside(self, source: Bounds) -> set[int]:
        about = {"topic": source.topic, "partition": source.partition, "low": source.low, "reason": ROW_LOST}
        return {row["offset"] for row in await self._rows(_ASIDE, about)}

    async def add(self, rows: Block) -> None:
        self._added += 1
        await self._clickhouse.insert(
            _BESIDE, lambda: arrow_table(rows.columns, KINDS), f"rebuilt/{self._added}", aside=True
        )

    async def attach(self) -> None:
        await self._clickhouse.change(_attach)


def _attach(client: Any) -> None:
    ((twice,),) = client.query(_TWICE).result_rows
    if twice:
        raise UsageStoreUnavailable(f"usage store: {twice} of the rows came back by another way; try again")
    for (partition,) in client.query(_PARTITIONS, parameters={"table": _BESIDE}).result_rows:
        client.command(f"ALTER TABLE usage_events ATTACH PARTITION ID '{partition}' FROM {_BESIDE}")
    client.command(f"DROP TABLE {_BESIDE} SYNC")


def _about(source: Bounds) -> dict[str, Any]:
    return {"epoch": source.epoch, "topic": source.topic, "partition": source.partition}
