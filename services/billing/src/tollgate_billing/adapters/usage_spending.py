"""What budgets and anomalies ask the usage store: whole hours of its sums, and rows where a window cuts an hour.

Rows decide, so an adjustment counts the moment that it is there, and nothing is counted that could drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.dimensions import condition
from tollgate_billing.control_ports import Part, Spend
from tollgate_billing.domain.anomalies import KeyHour, KeyNetwork, Repeat
from tollgate_billing.domain.budgets import HOUR_US, MEMBER, ORGANIZATION, TAG
from tollgate_billing.domain.forecast import SPAN_US, Pace
from tollgate_billing.domain.rows import to_pico

_AT_ONCE: Final = 40
# What the sums by hour have no column for: all of it is asked of the rows.
_OF_ROWS: Final = frozenset({TAG, MEMBER})
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
_PROJECT_HOURS: Final = """
SELECT organization_id, project_id, '' AS api_key_id, model, toUnixTimestamp(hour) AS at, any(currency) AS currency,
       sum(r.requests) AS requests, sum(r.errors) AS errors, sum(r.charge) AS charge
FROM usage_1h AS r
WHERE hour >= fromUnixTimestamp({since:Int64}) AND hour < fromUnixTimestamp({until:Int64})
  AND organization_id IN (
      SELECT organization_id FROM usage_1h
      WHERE hour >= fromUnixTimestamp({active:Int64}) AND hour < fromUnixTimestamp({until:Int64})
  )
GROUP BY organization_id, project_id, model, hour
HAVING requests > 0
ORDER BY organization_id, project_id, hour, model
"""
# Whose rows are of a key and of a whole hour; a window is (since, until) in seconds.
_WITHIN: Final = "started_at >= fromUnixTimestamp({since:Int64}) AND started_at < fromUnixTimestamp({until:Int64})"
_IN_HOUR: Final = "started_at >= fromUnixTimestamp({hour:Int64}) AND started_at < fromUnixTimestamp({until:Int64})"
# One row a request that ended; what billing writes when a price came later repeats it.
_ANSWERS: Final = "kind = 'usage' AND source != 'billing' AND final AND NOT superseded"
_NETWORKS: Final = f"""
SELECT organization_id, any(project_id) AS project, api_key_id, client_network,
       toUnixTimestamp64Micro(min(started_at)) AS first_us
FROM usage_events
WHERE {_WITHIN} AND kind = 'usage' AND client_network != ''
  AND (organization_id, api_key_id) IN (
      SELECT organization_id, api_key_id FROM usage_events
      WHERE {_IN_HOUR} AND kind = 'usage' AND client_network != '' AND api_key_id != ''
  )
GROUP BY organization_id, api_key_id, client_network
ORDER BY organization_id, api_key_id, client_network
"""  # noqa: S608 - constants; everything else is a parameter.
_REPEATS: Final = f"""
WITH fromUnixTimestamp({{hour:Int64}}) AS this
SELECT organization_id, any(project) AS project, api_key_id, prompt_hash, maxIf(n, at = this) AS requests,
       sumIf(charged, at = this) AS spent, any(money) AS currency, maxIf(n, at < this) AS most_before
FROM (
    SELECT organization_id, any(project_id) AS project, api_key_id, prompt_hash, toStartOfHour(started_at) AS at,
           count() AS n, sum(r.charge) AS charged, any(r.currency) AS money
    FROM usage_events AS r
    WHERE {_WITHIN} AND {_ANSWERS} AND prompt_hash != 0
      AND (organization_id, api_key_id, prompt_hash) IN (
          SELECT organization_id, api_key_id, prompt_hash FROM usage_events
          WHERE {_IN_HOUR} AND {_ANSWERS} AND prompt_hash != 0 AND api_key_id != ''
          GROUP BY organization_id, api_key_id, prompt_hash HAVING count() >= {{fewest:UInt32}}
      )
    GROUP BY organization_id, api_key_id, prompt_hash, at
)
GROUP BY organization_id, api_key_id, prompt_hash
ORDER BY organization_id, api_key_id, prompt_hash
"""  # noqa: S608 - constants; everything else is a parameter.
_MEMBERS: Final = f"""
SELECT organization_id, api_key_id, argMax(member, started_at) AS whose FROM usage_events
WHERE {_WITHIN} AND organization_id IN {{organizations:Array(String)}} AND api_key_id IN {{keys:Array(String)}}
GROUP BY organization_id, api_key_id
"""  # noqa: S608 - constants; everything else is a parameter.


class ClickHouseSpending:
    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def spent(self, asked: Sequence[Spend]) -> list[int]:
        found = [0] * len(asked)
        # Windows of a kind together, so that a day's budgets are not scanned with those of all time.
        order = sorted(
            range(len(asked)), key=lambda place: (asked[place].part.scope in _OF_ROWS, asked[place].begin_us)
        )
        for first in range(0, len(order), _AT_ONCE):
            places = order[first : first + _AT_ONCE]
            for sums in _statements([asked[place] for place in places]):
                rows = await self._clickhouse.rows(sums.text, sums.parameters, watching=True)
                for number in sums.numbers:
                    found[places[number]] += to_pico(rows[0][f"s_{number}"])
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
        return await self._hours(_KEY_HOURS, since_us, until_us, active_since_us)

    async def project_hours(self, since_us: int, until_us: int, active_since_us: int) -> list[KeyHour]:
        return await self._hours(_PROJECT_HOURS, since_us, until_us, active_since_us)

    async def _hours(self, statement: str, since_us: int, until_us: int, active_since_us: int) -> list[KeyHour]:
        parameters = _window(since_us, until_us) | {"active": active_since_us // _SECOND_US}
        rows = await self._clickhouse.rows(statement, parameters, watching=True)
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

    async def key_networks(self, since_us: int, until_us: int, active_since_us: int) -> list[KeyNetwork]:
        parameters = _window(since_us, until_us) | {"hour": active_since_us // _SECOND_US}
        rows = await self._clickhouse.rows(_NETWORKS, parameters, watching=True)
        return [
            KeyNetwork(
                row["organization_id"], row["project"], row["api_key_id"], row["client_network"], row["first_us"]
            )
            for row in rows
        ]

    async def repeats(self, since_us: int, until_us: int, hour_us: int, fewest: int) -> list[Repeat]:
        parameters = _window(since_us, until_us) | {"hour": hour_us // _SECOND_US, "fewest": fewest}
        return [
            Repeat(
                organization_id=row["organization_id"],
                project_id=row["project"],
                api_key_id=row["api_key_id"],
                prompt_hash=row["prompt_hash"],
                requests=row["requests"],
                charge_pico=to_pico(row["spent"]),
                currency=row["currency"],
                most_before=row["most_before"],
            )
            for row in await self._clickhouse.rows(_REPEATS, parameters, watching=True)
        ]

    async def members(self, keys: Sequence[tuple[str, str]], since_us: int, until_us: int) -> dict[str, str]:
        parameters = _window(since_us, until_us) | {
            "organizations": sorted({organization for organization, _ in keys}),
            "keys": sorted({key for _, key in keys}),
        }
        rows = await self._clickhouse.rows(_MEMBERS, parameters, watching=True)
        wanted = set(keys)
        return {
            row["api_key_id"]: row["whose"]
            for row in rows
            if row["whose"] and (row["organization_id"], row["api_key_id"]) in wanted
        }


def _window(since_us: int, until_us: int) -> dict[str, Any]:
    return {"since": since_us // _SECOND_US, "until": until_us // _SECOND_US}


@dataclass(slots=True)
class _Sums:
    """One scan of a table that adds up a part of several questions, by their numbers."""

    table: str
    terms: list[str] = field(default_factory=list)
    # What is scanned at all; each once, for many budgets have the same organization and the same window.
    organizations: dict[str, str] = field(default_factory=dict)
    ranges: dict[str, None] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)

    def add(self, number: int, spend: Spend, ranges: Sequence[str]) -> None:
        """Has a question count rows in any of the ranges."""
        if not ranges:
            return
        where, named = _part(number, spend.part)
        within = " OR ".join(ranges)
        self.terms.append(f"sumIf(r.charge, {where} AND ({within})) AS s_{number}")
        self.organizations.setdefault(spend.part.organization_id, f"{{o{number}:String}}")
        self.ranges |= dict.fromkeys(ranges)
        self.numbers.append(number)
        self.parameters |= named

    @property
    def text(self) -> str:
        """The statement: one row, a column for each question."""
        where = f"organization_id IN ({', '.join(self.organizations.values())}) AND ({' OR '.join(self.ranges)})"
        return f"SELECT {', '.join(self.terms)} FROM {self.table} AS r WHERE {where}"  # noqa: S608 - constants, numbers.


def _statements(asked: Sequence[Spend]) -> list[_Sums]:
    """Returns scans that add up to what was spent: of whole hours, and of the rows before and behind them.

    One scan for many questions: each of them has a condition of its own in it, and costs little more.
    """
    hours, rows = _Sums("usage_1h"), _Sums("usage_events")
    for number, spend in enumerate(asked):
        if spend.part.scope in _OF_ROWS:
            rows.add(number, spend, [_rows_between(spend.begin_us, spend.end_us)])
            continue
        first_hour = -(-spend.begin_us // HOUR_US) * HOUR_US
        last_hour = spend.end_us // HOUR_US * HOUR_US
        whole = f"hour >= fromUnixTimestamp({first_hour // _SECOND_US})"
        whole += f" AND hour < fromUnixTimestamp({last_hour // _SECOND_US})" if spend.end_us else ""
        if not spend.end_us or first_hour < last_hour:
            hours.add(number, spend, [whole])
        edges = [(spend.begin_us, first_hour)]
        if spend.end_us:
            # A window that lies within one hour has no whole hour, and one edge.
            edges = [(spend.begin_us, min(first_hour, spend.end_us)), (max(first_hour, last_hour), spend.end_us)]
        rows.add(number, spend, [_rows_between(begin, end) for begin, end in edges if begin < end])
    return [sums for sums in (hours, rows) if sums.terms]


def _rows_between(begin_us: int, end_us: int) -> str:
    since = f"started_at >= fromUnixTimestamp64Micro({begin_us})"
    return f"({since} AND started_at < fromUnixTimestamp64Micro({end_us}))" if end_us else since


def _part(number: int, part: Part) -> tuple[str, dict[str, Any]]:
    where, parameters = f"organization_id = {{o{number}:String}}", {f"o{number}": part.organization_id}
    if part.scope != ORGANIZATION:
        where += f" AND {condition(part.scope, f's{number}')}"
        parameters[f"s{number}"] = part.scope_id
    return where, parameters
