"""The rollups of the usage store beside its rows: where they differ, and making them again from the rows.

What a line should say is asked of the view that fills its table, so that there is one definition of it. A rollup is
made again in a table beside it, one slice of time after the other, which then takes the place of whole partitions: the
engine does that at once, and goes on to know the tokens of batches, so that one that is sent again is still dropped.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.usage_schema import FILLING
from tollgate_billing.domain.books import Amounts
from tollgate_billing.domain.rollups import DAY_US, HOUR_US, Rollup, SumDifference, ceil, floor
from tollgate_billing.domain.rows import to_pico
from tollgate_billing.errors import InvalidQuery, UsageStoreUnavailable
from tollgate_billing.ports import BatchRow


def between(column: str, begin: str = "from_us") -> str:
    """Returns the condition that a column is of the time asked for, from the parameter `begin` on."""
    first, end = (f"fromUnixTimestamp64Micro({{{name}:Int64}})" for name in (begin, "to_us"))
    return f"({column} >= {first} AND {column} < {end})"


COPIES: Final = "usage_events_copies"
"""Rows that were taken away since they were there again, until the sums are without them, too."""

_FROM: Final = re.compile(r"FROM (\S*usage_events`?) AS e\b")
_MONEY: Final = ("charge", "cost", "loss")
_HOURS: Final = f"""
SELECT DISTINCT toInt64(toUnixTimestamp(at)) AS hour FROM (
    SELECT toStartOfHour(started_at) AS at FROM usage_events WHERE {between("ingested_at")}
    UNION DISTINCT
    SELECT toStartOfHour(started_at) FROM usage_events WHERE {between("started_at")}
    UNION DISTINCT
    SELECT toStartOfHour(minute) FROM usage_1m WHERE {between("minute", "hour_us")}
    UNION DISTINCT
    SELECT hour FROM usage_1h WHERE {between("hour", "hour_us")}
    UNION DISTINCT
    SELECT toDateTime(day, 'UTC') FROM usage_1d WHERE {between("toDateTime(day, 'UTC')", "day_us")}
) ORDER BY hour
"""  # noqa: S608 - constants; everything else is a parameter.
_ROWS: Final = f"""
SELECT toInt64(toUnixTimestamp(toStartOfHour(started_at))) AS hour, count() AS rows FROM usage_events
WHERE {between("started_at")} AND toStartOfHour(started_at) IN {{hours:Array(DateTime('UTC'))}} GROUP BY hour
"""  # noqa: S608 - constants; everything else is a parameter.
_OF_BUCKET: Final = """
SELECT request_id, charge, cost, loss FROM usage_events
WHERE {times} AND {names} ORDER BY started_at, event_id LIMIT 10000
"""
# How old what is surely kept may be, as the engine says it: a month is not a number of days.
_KEPT: Final = """
SELECT toInt64(toUnixTimestamp(subtractMonths(now(), {raw_months:UInt32}))) AS raw,
       toInt64(toUnixTimestamp(subtractDays(now(), {minute_days:UInt32}))) AS minute,
       toInt64(toUnixTimestamp(subtractMonths(now(), {hour_months:UInt32}))) AS hour,
       toInt64(toUnixTimestamp(subtractYears(now(), {day_years:UInt32}))) AS day
"""
_COLUMNS: Final = """
SELECT name, type FROM system.columns
WHERE database = currentDatabase() AND table = {table:String} ORDER BY position
"""
_VIEW: Final = """
SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = {name:String}
"""
# A day is of one partition of each.
_PARTITION_IDS: Final[Mapping[str, Callable[[datetime], str]]] = {
    "minute": lambda at: (at - timedelta(days=at.weekday())).strftime("%Y%m%d"),
    "hour": lambda at: at.strftime("%Y%m"),
    "day": lambda at: at.strftime("%Y"),
}
# A rollup that nothing is left of is replaced by nothing.
_REPLACING: Final = {"allow_replace_partition_from_empty_source": 1}


@dataclass(frozen=True, slots=True)
class _Shape:
    """Columns of a rollup: what names a line, sums, and states that are no sums; and the query of its view."""

    names: tuple[str, ...]
    sums: tuple[str, ...]
    maps: frozenset[str]
    states: tuple[str, ...]
    view: str

    def columns(self, column: str) -> str:
        return ", ".join((column, *self.names, *self.sums))

    def query(self, more: str = "", table: str = r"\1") -> str:
        """Returns what the view makes of the rows of the time asked for, of its own table or another one."""
        rows = rf"FROM (SELECT * FROM {table} WHERE {between('started_at')}{more}) AS e"  # noqa: S608 - constants.
        return _FROM.sub(rows, self.view)


class ClickHouseRollups:
    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._shapes: dict[str, _Shape] = {}

    async def hours(self, from_us: int, to_us: int) -> list[int]:
        begins = {"from_us": from_us, "hour_us": floor(from_us, HOUR_US), "day_us": floor(from_us, DAY_US)}
        found = await self._clickhouse.rows(_HOURS, begins | {"to_us": to_us}, aside=True)
        return [row["hour"] * 1_000_000 for row in found]

    async def rows_of_hours(self, hours: Sequence[int]) -> dict[int, int]:
        if not hours:
            return {}
        about = {"from_us": min(hours), "to_us": max(hours) + HOUR_US, "hours": [hour // 1_000_000 for hour in hours]}
        found = await self._clickhouse.rows(_ROWS, about, aside=True)
        return {row["hour"] * 1_000_000: row["rows"] for row in found}

    async def kept_from(self, rollup: Rollup) -> int:
        retention = self._clickhouse.retention
        lives = {
            "raw": retention.raw_months,
            "minute": retention.minute_days,
            "hour": retention.hour_months,
            "day": retention.day_years,
        }
        names = ("raw_months", "minute_days", "hour_months", "day_years")
        about = dict(zip(names, lives.values(), strict=True))
        (row,) = await self._clickhouse.rows(_KEPT, about, aside=True)
        # What has an hour left may be gone before it is looked at.
        ends = [row[name] * 1_000_000 + HOUR_US for name in ("raw", rollup.name) if lives[name]]
        return ceil(max(ends, default=0), rollup.bucket_us)

    async def differences(
        self,
        rollup: Rollup,
        from_us: int,
        to_us: int,
        most: int,
        *,
        between_inserts: bool = False,
        organizations: Collection[str] = (),
    ) -> list[SumDifference]:
        shape = await self._shape(rollup)
        about = {"from_us": from_us, "to_us": to_us, "most": most, "organizations": sorted(organizations)}
        more = " AND organization_id IN {organizations:Array(String)}" if organizations else ""
        order = ", ".join((rollup.column, *shape.names))
        sql = f"{_differing(rollup, shape, more)} ORDER BY {order} LIMIT {{most:UInt32}}"
        rows = await self._clickhouse.rows(sql, about, booking=between_inserts, aside=not between_inserts)
        return [_difference(rollup, shape, row) for row in rows]

    async def rows_of(self, difference: SumDifference) -> list[BatchRow]:
        rollup, begin = difference.rollup, difference.bucket_us
        about: dict[str, Any] = {"from_us": begin, "to_us": begin + rollup.bucket_us}
        about |= {f"name_{name}": value for name, value in difference.names.items()}
        names = " AND ".join(f"{name} = {{name_{name}:String}}" for name in difference.names)
        sql = _OF_BUCKET.format(times=between("started_at"), names=names)
        rows = await self._clickhouse.rows(sql, about, aside=True)
        return [BatchRow(row["request_id"], Amounts(*(to_pico(row[name]) for name in _MONEY))) for row in rows]

    async def refill(self, rollup: Rollup, from_us: int, to_us: int, *, lacking: bool) -> None:
        if self._clickhouse.replicated:
            raise InvalidQuery("the sums of a cluster are not made again: nobody has tried it on one")
        shape = await self._shape(rollup)
        times = {"from_us": from_us, "to_us": to_us}
        only = _lacking(rollup, shape) if lacking else ""
        await self._clickhouse.change(lambda client: _refill(client, rollup, shape, times, only))

    async def without_copies(self, rollup: Rollup, from_us: int, to_us: int) -> int:
        shape = await self._shape(rollup)
        times, only = {"from_us": from_us, "to_us": to_us}, _with_copies(rollup, shape)

        def work(client: Any) -> int:
            ((lines,),) = client.query(f"SELECT count() FROM ({only})", parameters=times).result_rows  # noqa: S608 - ours.
            if lines:
                _refill(client, rollup, shape, times, only)
            return int(lines)

        return await self._clickhouse.change(work)

    async def _shape(self, rollup: Rollup) -> _Shape:
        found = self._shapes.get(rollup.name)
        if found is None:
            columns = await self._clickhouse.rows(_COLUMNS, {"table": rollup.table}, aside=True)
            (view,) = await self._clickhouse.rows(_VIEW, {"name": f"{rollup.table}_from_events"}, aside=True)
            kinds = {row["name"]: row["type"] for row in columns if row["name"] != rollup.column}
            sums = tuple(name for name, kind in kinds.items() if kind.startswith("SimpleAggregateFunction("))
            states = tuple(name for name, kind in kinds.items() if kind.startswith("AggregateFunction("))
            found = self._shapes[rollup.name] = _Shape(
                tuple(name for name in kinds if name not in {*sums, *states}),
                sums,
                frozenset(name for name in sums if "sumMap" in kinds[name]),
                states,
                view["as_select"],
            )
        return found


def _of_time(rollup: Rollup) -> str:
    """Returns the condition that a line of a rollup is of the time asked for; a day is a date."""
    return between(f"toDateTime({rollup.column}, 'UTC')")


def _differing(rollup: Rollup, shape: _Shape, more: str = "") -> str:
    """Returns the query for lines whose sums are not those of their rows."""
    columns, sums = shape.columns(rollup.column), []
    for name in shape.sums:
        add = "sumMapIf" if name in shape.maps else "sumIf"
        sums += [f"{add}({name}, side = 0) AS raw_{name}", f"{add}({name}, side = 1) AS kept_{name}"]
    return f"""
SELECT toInt64(toUnixTimestamp(toDateTime({rollup.column}, 'UTC'))) AS bucket, {rollup.column},
       {", ".join(shape.names)}, {", ".join(sums)}
FROM (
    SELECT 0 AS side, {columns} FROM ({shape.query(more)})
    UNION ALL
    SELECT 1 AS side, {columns} FROM {rollup.table} WHERE {_of_time(rollup)}{more}
)
GROUP BY {rollup.column}, {", ".join(shape.names)}
HAVING {" OR ".join(f"raw_{name} != kept_{name}" for name in shape.sums)}
"""  # noqa: S608 - names of our tables and their columns; everything else is a parameter.


def _difference(rollup: Rollup, shape: _Shape, row: dict[str, Any]) -> SumDifference:
    found, expected = ({name: _plain(row[f"{side}_{name}"]) for name in shape.sums} for side in ("kept", "raw"))
    shown = [name for name in shape.sums if name in {"rows", *_MONEY} or found[name] != expected[name]]
    return SumDifference(
        rollup,
        row["bucket"] * 1_000_000,
        {name: row[name] for name in shape.names},
        {name: found[name] for name in shown},
        {name: expected[name] for name in shown},
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | dict) else to_pico(value)


def _lacking(rollup: Rollup, shape: _Shape) -> str:
    """Returns the query for lines that rows are missing of."""
    return f"SELECT {_line(rollup, shape)} FROM ({_differing(rollup, shape)}) WHERE kept_rows < raw_rows"  # noqa: S608 - names of ours.


def _with_copies(rollup: Rollup, shape: _Shape) -> str:
    """Returns the query for lines that have as many rows too many as there were copies of theirs, and for no others.

    What a line has beside that may be all that is left of rows that are lost.
    """
    line = _line(rollup, shape)
    copies = f"SELECT {line}, toInt64(sum(rows)) FROM ({shape.query(table=COPIES)}) GROUP BY {line}"  # noqa: S608 - names of ours.
    more = f"({line}, toInt64(kept_rows) - toInt64(raw_rows)) IN ({copies})"
    return f"SELECT {line} FROM ({_differing(rollup, shape)}) WHERE {more}"  # noqa: S608 - names of ours.


def _line(rollup: Rollup, shape: _Shape) -> str:
    return ", ".join((rollup.column, *shape.names))


def _refill(client: Any, rollup: Rollup, shape: _Shape, times: dict[str, int], only: str) -> None:
    """Makes the lines of a time again from their rows; where a query says which `only`, no others."""
    beside = f"{rollup.table}_refilled"
    partition = _PARTITION_IDS[rollup.name](datetime.fromtimestamp(times["from_us"] / 1e6, UTC))
    # Merges make one line of two: lines are no measure of what came.
    rows = f"SELECT sum(rows) FROM {rollup.table} WHERE _partition_id = '{partition}'"  # noqa: S608 - names of ours.
    replace_partition(
        client, rollup.table, partition, beside, _statements(rollup, shape, beside, partition, only), times, rows
    )


def replace_partition(
    client: Any,
    table: str,
    partition: str,
    beside: str,
    inserts: Iterable[str],
    parameters: Mapping[str, Any],
    rows: str,
) -> None:
    """Has a table beside, which the inserts fill, take the place of a partition; `rows` asks how many rows that has.

    Raises UsageStoreUnavailable, with nothing replaced, where another process inserted into the partition meanwhile:
    what came after it had been read would be gone.
    """
    before = client.query(rows).result_rows
    client.command(f"DROP TABLE IF EXISTS {beside} SYNC")
    client.command(f"CREATE TABLE {beside} AS {table}")
    for statement in inserts:
        client.command(statement, parameters=dict(parameters), settings=FILLING)
    if client.query(rows).result_rows != before:
        client.command(f"DROP TABLE {beside} SYNC")
        raise UsageStoreUnavailable(f"usage store: other rows came to {table} meanwhile; run it again")
    client.command(f"ALTER TABLE {table} REPLACE PARTITION ID '{partition}' FROM {beside}", settings=_REPLACING)
    client.command(f"DROP TABLE {beside} SYNC")


def _statements(rollup: Rollup, shape: _Shape, beside: str, partition: str, only: str) -> Iterator[str]:
    """Yields what makes the partition in the table beside: what stays as it is, and what is made again."""
    line = _line(rollup, shape)
    every = f"{line}, {', '.join((*shape.sums, *shape.states))}"
    again = f"({line}) IN ({only})" if only else _of_time(rollup)
    # Names of our tables and their columns; everything else is a parameter.
    stays = f"SELECT {every} FROM {rollup.table} WHERE _partition_id = '{partition}' AND NOT ({again})"  # noqa: S608 - see above.
    made = f"SELECT {every} FROM ({shape.query()})"  # noqa: S608 - see above.
    for source in (stays, f"{made} WHERE {again}" if only else made):
        yield f"INSERT INTO {beside} ({every}) {source}"
