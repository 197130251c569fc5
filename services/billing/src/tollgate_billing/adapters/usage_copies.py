"""Copies: rows of one event that were inserted again for one place in the log, and taking them away.

Of each place the row stays that came first. Where a log gave an offset to two events, as after it was restored from an
old copy, both are rows of their own. A month that has copies is made again without them in a table beside, which
takes its place at once. The copies are kept in a table of their own until the sums are without them, too: it says which
those are, also to whoever goes on after a kill.
"""

from typing import Any, Final

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.usage_rollups import COPIES, between, replace_partition
from tollgate_billing.adapters.usage_schema import FILLING

_BESIDE: Final = "usage_events_once"
_PLACE: Final = "src_epoch, src_topic, src_partition, src_offset, src_index, event_id"
_OF_COPIES: Final = f"({_PLACE}) IN (SELECT {_PLACE} FROM {COPIES})"  # noqa: S608 - constants.
_MORE_THAN_ONE: Final = f"""
SELECT {_PLACE}, any(batch) AS of, count() AS rows FROM usage_events WHERE {between("logged_at")}
GROUP BY {_PLACE} HAVING rows > 1
"""  # noqa: S608 - constants; everything else is a parameter.
_FOUND: Final = f"SELECT of AS batch, toUInt64(sum(rows) - count()) AS copies FROM ({_MORE_THAN_ONE}) GROUP BY batch"  # noqa: S608 - constants.
_LEFT: Final = "SELECT count() AS tables FROM system.tables WHERE database = currentDatabase() AND name = {name:String}"
_DAYS: Final = f"SELECT DISTINCT toInt64(toUnixTimestamp(toStartOfDay(started_at))) AS day FROM {COPIES} ORDER BY day"  # noqa: S608 - constants.
_PARTITIONS: Final = f"SELECT DISTINCT _partition_id FROM {COPIES} ORDER BY _partition_id"  # noqa: S608 - constants.
# What a run that was killed kept of places that still have copies may be a part of theirs; of others, it is all.
_HALF_KEPT: Final = f"""
ALTER TABLE {COPIES} DELETE WHERE ({_PLACE}) IN (
    SELECT {_PLACE} FROM usage_events WHERE {_OF_COPIES} GROUP BY {_PLACE} HAVING count() > 1
) SETTINGS mutations_sync = 2
"""  # noqa: S608 - constants.
# All but the first of each place.
_KEEP: Final = f"""
INSERT INTO {COPIES} SELECT * FROM usage_events
WHERE {between("logged_at")} AND ({_PLACE}) IN (SELECT {_PLACE} FROM ({_MORE_THAN_ONE}))
ORDER BY ingested_at LIMIT 1, 4294967295 BY {_PLACE}
"""  # noqa: S608 - constants; everything else is a parameter.
_OF_MONTH: Final = f"INSERT INTO {_BESIDE} SELECT * FROM usage_events WHERE _partition_id = {{month:String}}"  # noqa: S608 - constants.
_SINGLE: Final = (
    f"{_OF_MONTH} AND NOT {_OF_COPIES}",
    f"{_OF_MONTH} AND {_OF_COPIES} ORDER BY ingested_at LIMIT 1 BY {_PLACE}",
)
# Places of months may be more than fit into memory.
_SPILLING: Final = {"max_bytes_before_external_group_by": 1 << 30}


class ClickHouseCopies:
    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def found(self, from_us: int, to_us: int) -> dict[str, int]:
        settings = ", ".join(f"{name} = {value}" for name, value in _SPILLING.items())
        rows = await self._clickhouse.rows(
            f"{_FOUND} SETTINGS {settings}", {"from_us": from_us, "to_us": to_us}, aside=True
        )
        return {row["batch"]: row["copies"] for row in rows}

    async def days(self) -> list[int]:
        (row,) = await self._clickhouse.rows(_LEFT, {"name": COPIES}, aside=True)
        if not row["tables"]:
            return []
        return [row["day"] * 1_000_000 for row in await self._clickhouse.rows(_DAYS, {}, aside=True)]

    async def drop(self, from_us: int, to_us: int) -> None:
        await self._clickhouse.change(lambda client: _drop(client, {"from_us": from_us, "to_us": to_us}))

    async def forget(self) -> None:
        # Whoever was killed just after a month had taken its place left the table beside, too.
        for table in (_BESIDE, COPIES):
            await self._clickhouse.command(f"DROP TABLE IF EXISTS {table} SYNC")


def _drop(client: Any, times: dict[str, int]) -> None:
    client.command(f"CREATE TABLE IF NOT EXISTS {COPIES} AS usage_events")
    client.command(_HALF_KEPT)
    client.command(_KEEP, parameters=times, settings=FILLING)
    for (month,) in client.query(_PARTITIONS).result_rows:
        rows = f"SELECT count() FROM usage_events WHERE _partition_id = '{month}'"  # noqa: S608 - the engine's own name.
        replace_partition(client, "usage_events", month, _BESIDE, _SINGLE, {"month": month}, rows)
