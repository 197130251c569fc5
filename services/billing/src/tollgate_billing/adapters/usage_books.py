"""The usage store as whoever compares the books needs it: sums by batch, and what should not be there."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.letters import letter_of
from tollgate_billing.domain.books import Amounts, BatchLine, Difference, parse_batch
from tollgate_billing.domain.recent import WINDOW_US
from tollgate_billing.domain.rows import to_pico
from tollgate_billing.ports import BatchRow, Letter, RepeatedRequest
from tollgate_holds import hold_id_of, request_of

_LINE: Final = ", ".join(BatchLine._fields)
_SUMS: Final = "sum(charge) AS charge, sum(cost) AS cost, sum(loss) AS loss"
_WHEN: Final = (
    "ingested_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND ingested_at < fromUnixTimestamp64Micro({to_us:Int64})"
)
_BY_TIME: Final = f"""
SELECT {_LINE}, {_SUMS}, count() AS rows, toUnixTimestamp64Micro(min(ingested_at)) AS at_us
FROM usage_events WHERE {_WHEN} GROUP BY {_LINE}
"""  # noqa: S608 - constants; everything else is a parameter.
# Places in the log have an index, names of batches have none.
_PLACES: Final = "src_offset >= {low:UInt64} AND src_offset < {high:UInt64}"
_BY_NAME: Final = f"""
SELECT {_LINE}, {_SUMS} FROM usage_events WHERE {_PLACES} AND batch IN {{batches:Array(String)}} GROUP BY {_LINE}
"""  # noqa: S608 - constants, see above.
_ROWS: Final = f"""
SELECT request_id, {_SUMS} FROM usage_events
WHERE {_PLACES} AND {" AND ".join(f"{name} = {{{name}:String}}" for name in BatchLine._fields)}
GROUP BY request_id, event_id ORDER BY min(src_offset) LIMIT 10000
"""  # noqa: S608 - constants, see above.
_OFFSETS: Final = f"""
SELECT DISTINCT src_offset FROM usage_events WHERE {_PLACES} AND batch = {{batch:String}} ORDER BY src_offset
"""  # noqa: S608 - constants, see above.
# A row that came when its event may not have been remembered any more may repeat one of any time before.
_LATE: Final = f"logged_at >= started_at + INTERVAL {WINDOW_US // 2_000_000} SECOND"
# An event that was booked from two places in the log was charged twice; two rows of one place are of one charge. What
# was taken back of the former is an adjustment of a status of its own.
_REPEATED: Final = f"""
SELECT request_id, any(organization_id) AS organization,
       toInt64(count() - uniqExact(event_id)) - countIf(kind = 'adjustment' AND status = 'repeated') AS repeated,
       toInt64(uniqExactIf((src_epoch, src_topic, src_partition, src_offset),
                           kind = 'usage' AND final AND NOT superseded AND charge != 0))
       - toInt64(uniqExactIf(event_id, kind = 'adjustment' AND charge != 0)) AS standing
FROM usage_events
WHERE started_at >= (SELECT min(started_at) FROM usage_events WHERE {_WHEN})
  AND ({_WHEN} OR request_id IN (SELECT request_id FROM usage_events WHERE {_WHEN} AND {_LATE}))
  AND ({{organization_id:String}} = '' OR organization_id = {{organization_id:String}})
GROUP BY request_id HAVING repeated > 0 OR standing > 1 ORDER BY request_id LIMIT {{most:UInt32}}
"""  # noqa: S608 - constants, see above.
_FINALS: Final = """
SELECT request_id, try, any(batch) AS booked FROM usage_events
WHERE request_id IN {names:Array(String)} AND final AND kind = 'usage'
  AND ingested_at < fromUnixTimestamp64Micro({before_us:Int64})
GROUP BY request_id, try
"""
_MISMATCHES: Final = """
SELECT request_id, organization_id, batch, reason, detail, found_pico, expected_pico FROM usage_mismatches
WHERE found_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND found_at < fromUnixTimestamp64Micro({to_us:Int64})
ORDER BY found_at, event_id LIMIT {most:UInt32}
"""
_POISON: Final = """
SELECT topic, partition, offset, toUnixTimestamp64Micro(logged_at) AS at_us, reason, key_base64, value_base64
FROM usage_poison
WHERE logged_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND logged_at < fromUnixTimestamp64Micro({to_us:Int64})
ORDER BY topic, partition, offset LIMIT {most:UInt32}
"""
_PROVIDER: Final = """
SELECT formatDateTime(started_at, '%Y-%m-%d', 'UTC') AS day, upstream_model, provider_currency,
       sum(provider_cost) AS total
FROM usage_events
WHERE provider = {provider:String} AND provider_currency != ''
  AND started_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND started_at < fromUnixTimestamp64Micro({to_us:Int64})
GROUP BY day, upstream_model, provider_currency ORDER BY day, upstream_model, provider_currency
"""
_NAMES_A_QUERY: Final = 1_000


class ClickHouseUsageBooks:
    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def _rows(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        # It may take long, and nobody who asks for usage is to wait for it.
        return await self._clickhouse.rows(sql, parameters, aside=True)

    async def batch_amounts(self, from_us: int, to_us: int) -> dict[BatchLine, tuple[Amounts, int, int]]:
        rows = await self._rows(_BY_TIME, {"from_us": from_us, "to_us": to_us})
        return {_line(row): (_amounts(row), row["rows"], row["at_us"]) for row in rows}

    async def amounts_of_batches(self, batches: Collection[str]) -> dict[BatchLine, Amounts]:
        found: dict[BatchLine, Amounts] = {}
        for part in _parts(batches):
            for row in await self._rows(_BY_NAME, {"batches": part, **_places(part)}):
                found[_line(row)] = _amounts(row)
        return found

    async def rows_of(self, line: BatchLine) -> list[BatchRow]:
        rows = await self._rows(_ROWS, line._asdict() | _places([line.batch]))
        return [BatchRow(row["request_id"], _amounts(row)) for row in rows]

    async def offsets_of(self, batch: str) -> list[int]:
        return [row["src_offset"] for row in await self._rows(_OFFSETS, {"batch": batch, **_places([batch])})]

    async def repeated(self, from_us: int, to_us: int, most: int, organization_id: str = "") -> list[RepeatedRequest]:
        asked = {"from_us": from_us, "to_us": to_us, "most": most, "organization_id": organization_id}
        rows = await self._rows(_REPEATED, asked)
        return [
            RepeatedRequest(row["request_id"], row["organization"], row["repeated"], row["standing"]) for row in rows
        ]

    async def booked_finals(self, hold_ids: Collection[str], before_us: int) -> dict[str, str]:
        found: dict[str, str] = {}
        for part in _parts({request_of(hold_id) for hold_id in hold_ids}):
            rows = await self._rows(_FINALS, {"names": part, "before_us": before_us})
            found |= {hold_id_of(row["request_id"], row["try"]): row["booked"] for row in rows}
        return found

    async def mismatches_between(self, from_us: int, to_us: int, most: int) -> list[Difference]:
        rows = await self._rows(_MISMATCHES, {"from_us": from_us, "to_us": to_us, "most": most})
        return [
            Difference(
                "mismatch",
                ": ".join(part for part in (row["reason"], row["detail"]) if part),
                row["organization_id"],
                row["batch"],
                (row["request_id"],),
                row["found_pico"],
                row["expected_pico"],
            )
            for row in rows
        ]

    async def poison_between(self, from_us: int, to_us: int, most: int) -> list[Letter]:
        rows = await self._rows(_POISON, {"from_us": from_us, "to_us": to_us, "most": most})
        return [letter_of(row) for row in rows]

    async def provider_costs(self, provider: str, from_us: int, to_us: int) -> list[tuple[str, str, str, int]]:
        about = {"provider": provider, "from_us": from_us, "to_us": to_us}
        rows = await self._rows(_PROVIDER, about)
        return [(row["day"], row["upstream_model"], row["provider_currency"], to_pico(row["total"])) for row in rows]


def _line(row: dict[str, Any]) -> BatchLine:
    return BatchLine(*(row[name] for name in BatchLine._fields))


def _amounts(row: dict[str, Any]) -> Amounts:
    return Amounts(to_pico(row["charge"]), to_pico(row["cost"]), to_pico(row["loss"]))


def _places(batches: Collection[str]) -> dict[str, int]:
    """Returns bounds of the places in the log that these batches cover."""
    names = [name for batch in batches if (name := parse_batch(batch)) is not None]
    return {"low": min((name.low for name in names), default=0), "high": max((name.high for name in names), default=0)}


def _parts(names: Collection[str]) -> Iterable[list[str]]:
    ordered = sorted(names)
    return (ordered[first : first + _NAMES_A_QUERY] for first in range(0, len(ordered), _NAMES_A_QUERY))
