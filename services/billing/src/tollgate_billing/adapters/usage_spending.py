"""What budgets and anomalies ask the usage store: whole hours of its sums, and rows where a window cuts an hour.

Rows decide, so an adjustment counts the moment that it is there, and nothing is counted that could drift.
"""

from collections.abc import Sequence
from typing import Any, Final

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.control_ports import Part, Spend
from tollgate_billing.domain.anomalies import KeyHour
from tollgate_billing.domain.budgets import HOUR_US, TAG
from tollgate_billing.domain.forecast import SPAN_US, Pace
from tollgate_billing.domain.rows import to_pico

# Of one statement, which has three selects for each.
_AT_ONCE: Final = 40
_COLUMNS: Final = {"project": "project_id", "key": "api_key_id", "model": "model"}
_SECOND_US: Final = 1_000_000
_KEY_HOURS: Final = """
SELECT organization_id, project_id, api_key_id, model, toUnixTimestamp(hour) AS at, any(currency) AS currency,
       sum(r.requests) AS requests, sum(r.errors) AS errors, sum(r.charge) AS charge
FROM usage_1h AS r
WHERE hour >= fromUnixTimestamp({since:Int64}) AND hour < fromUnixTimestamp({until:Int64})
  AND (organization_id, api_key_id) IN (
      SELECT organization_id, api_key_id FROM usage_1h
      WHERE hour >= fromUnixTimestamp({active:Int64}) AND hour < fromUnixTimestamp({until:Int64}) AND api_key_id != ''
  )
GROUP BY organization_id, project_id, api_key_id, model, hour
HAVING requests > 0
ORDER BY organization_id, project_id, api_key_id, hour, model
"""


class ClickHouseSpending:
    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def spent(self, asked: Sequence[Spend]) -> list[int]:
        found = [0] * len(asked)
        for first in range(0, len(asked), _AT_ONCE):
            parts: list[str] = []
            parameters: dict[str, Any] = {}
            for number, spend in enumerate(asked[first : first + _AT_ONCE]):
                parts += _sums(number, spend, parameters)
            sql = f"SELECT n, sum(part) AS charge FROM ({' UNION ALL '.join(parts)}) GROUP BY n"  # noqa: S608 - constants and numbers; names are parameters.
            for row in await self._clickhouse.rows(sql, parameters, watching=True):
                found[first + row["n"]] = to_pico(row["charge"])
        return found

    async def pace(self, part: Part, now_us: int) -> Pace:
        where, parameters = _part(0, part)
        rows = await self._clickhouse.rows(
            "SELECT sum(r.charge) AS charge, toUnixTimestamp64Micro(minIf(started_at, r.charge > 0)) AS first_us "  # noqa: S608 - constants and numbers; names are parameters.
            f"FROM usage_events AS r WHERE {where} AND started_at >= fromUnixTimestamp64Micro({{since:Int64}})",
            parameters | {"since": now_us - SPAN_US},
            watching=True,
        )
        return Pace(to_pico(rows[0]["charge"]), max(0, rows[0]["first_us"]))

    async def hours(self, spend: Spend) -> list[tuple[int, int]]:
        where, parameters = _part(0, spend.part)
        rows = await self._clickhouse.rows(
            "SELECT toUnixTimestamp(toStartOfHour(started_at)) AS at, sum(r.charge) AS charge "  # noqa: S608 - constants and numbers; names are parameters.
            f"FROM usage_events AS r WHERE {where} AND started_at >= fromUnixTimestamp64Micro({{since:Int64}}) "
            "GROUP BY at ORDER BY at",
            parameters | {"since": spend.begin_us},
            watching=True,
        )
        return [(row["at"] * _SECOND_US, to_pico(row["charge"])) for row in rows]

    async def key_hours(self, since_us: int, until_us: int, active_since_us: int) -> list[KeyHour]:
        parameters = {
            "since": since_us // _SECOND_US,
            "until": until_us // _SECOND_US,
            "active": active_since_us // _SECOND_US,
        }
        rows = await self._clickhouse.rows(_KEY_HOURS, parameters, watching=True)
        return [
            KeyHour(
                organization_id=row["organization_id"],
                project_id=row["project_id"],
                api_key_id=row["api_key_id"],
                model=row["model"],
                hour_us=row["at"] * _SECOND_US,
                requests=row["requests"],
                errors=row["errors"],
                charge_pico=to_pico(row["charge"]),
                currency=row["currency"],
            )
            for row in rows
        ]


def _sums(number: int, spend: Spend, parameters: dict[str, Any]) -> list[str]:
    """Returns selects that add up to what was spent: of whole hours, and of the rows before and behind them."""
    where, named = _part(number, spend.part)
    parameters.update(named)
    if spend.part.scope == TAG:
        # The sums have no tags: all of it is asked of the rows.
        end = f" AND started_at < fromUnixTimestamp64Micro({spend.end_us})" if spend.end_us else ""
        whole = f"{where} AND started_at >= fromUnixTimestamp64Micro({spend.begin_us}){end}"
        return [f"SELECT {number} AS n, sum(r.charge) AS part FROM usage_events AS r WHERE {whole}"]  # noqa: S608 - as below.
    first_hour = -(-spend.begin_us // HOUR_US) * HOUR_US
    last_hour = spend.end_us // HOUR_US * HOUR_US
    whole = f"hour >= fromUnixTimestamp({first_hour // _SECOND_US})"
    whole += f" AND hour < fromUnixTimestamp({last_hour // _SECOND_US})" if spend.end_us else ""
    parts = [f"SELECT {number} AS n, sum(r.charge) AS part FROM usage_1h AS r WHERE {where} AND {whole}"]  # noqa: S608 - constants and numbers; names are parameters.
    edges = [(spend.begin_us, first_hour)]
    if spend.end_us:
        # A window that lies within one hour has no whole hour, and one edge.
        edges = [(spend.begin_us, min(first_hour, spend.end_us)), (max(first_hour, last_hour), spend.end_us)]
    parts += [
        f"SELECT {number} AS n, sum(r.charge) AS part FROM usage_events AS r WHERE {where} "  # noqa: S608 - constants and numbers; names are parameters.
        f"AND started_at >= fromUnixTimestamp64Micro({begin}) AND started_at < fromUnixTimestamp64Micro({end})"
        for begin, end in edges
        if begin < end
    ]
    return parts


def _part(number: int, part: Part) -> tuple[str, dict[str, Any]]:
    where, parameters = f"organization_id = {{o{number}:String}}", {f"o{number}": part.organization_id}
    column = _COLUMNS.get(part.scope)
    if column is not None or part.scope == TAG:
        named = f"{{s{number}:String}}"
        where += f" AND has(splitByChar(',', tags), {named})" if column is None else f" AND {column} = {named}"
        parameters[f"s{number}"] = part.scope_id
    return where, parameters
