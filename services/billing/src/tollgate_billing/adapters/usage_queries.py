"""The questions that are asked of the usage store: fixed text, parameters for everything a caller says."""

from collections.abc import Sequence
from typing import Any, Final

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.dimensions import GROUPS, conditions
from tollgate_billing.adapters.usage_store import SELECTED
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.ports import UsageFilter

_CONDITIONS: Final = {
    **conditions("started_at"),
    # Of a RequestFilter.
    "trace_id": "trace_id = {trace_id:String}",
    "outcome": "outcome = {outcome:String}",
    "status": "status = {status:String}",
    "error": "error_kind = {error:String}",
}
# The final that carries a request's charge counts once; its adjustment, which repeats it, takes it away again.
_SIGN: Final = "multiIf(kind = 'adjustment', -1, final AND NOT superseded, 1, 0)"
_SUMS: Final = f"""
    sum({_SIGN}) AS requests,
    sum({_SIGN} * toInt64(input_tokens)) AS input_tokens,
    sum({_SIGN} * toInt64(output_tokens)) AS output_tokens,
    sum({_SIGN} * toInt64(cache_read_tokens)) AS cache_read_tokens,
    sum({_SIGN} * toInt64(cache_write_5m_tokens + cache_write_1h_tokens)) AS cache_write_tokens,
    sum({_SIGN} * toInt64(reasoning_tokens)) AS reasoning_tokens,
    sum({_SIGN} * toInt64(images)) AS images,
    sum(charge) AS charge,
    sum(cost) AS cost,
    sum({_SIGN} * unpriced) AS unpriced,
    sum({_SIGN} * (outcome != 'ok')) AS errors
"""
_MISMATCHES: Final = """
SELECT event_id, reason, detail, found_pico, expected_pico, toUnixTimestamp64Micro(found_at) AS found_at_us
FROM usage_mismatches WHERE request_id = {request_id:String} ORDER BY found_at, event_id LIMIT 100
"""
_COUNTS: Final = """
SELECT (SELECT count() FROM usage_events) AS rows, (SELECT count() FROM usage_poison) AS poison,
       (SELECT count() FROM usage_mismatches) AS mismatches
"""


class ClickHouseUsageQueries:
    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def sums(self, where: UsageFilter, group_by: Sequence[str], limit: int) -> list[dict[str, Any]]:
        unknown = [name for name in group_by if name not in GROUPS]
        if unknown:
            raise InvalidQuery(f"'group_by' takes {', '.join(GROUPS)}, not {unknown[0][:100]!r}.", "group_by")
        chosen, parameters = _chosen(where)
        groups = "".join(f"{GROUPS[name]} AS group_{number}, " for number, name in enumerate(group_by))
        names = ", ".join([*(f"group_{number}" for number in range(len(group_by))), "currency"])
        grouped = f"GROUP BY {names} ORDER BY charge DESC, {names} LIMIT {{limit:UInt32}}"
        sql = f"SELECT {groups}currency, {_SUMS} FROM usage_events{chosen} {grouped}"  # noqa: S608 - constants, see above.
        return await self._clickhouse.rows(sql, {**parameters, "limit": limit})

    async def requests(
        self, where: UsageFilter, request_id: str, limit: int, before: tuple[int, str] | None
    ) -> list[dict[str, Any]]:
        chosen, parameters = _chosen(where)
        more = []
        if request_id:
            more.append("request_id = {request_id:String}")
            parameters["request_id"] = request_id
        if before is not None:
            more.append(
                "(started_at, event_id) < (fromUnixTimestamp64Micro({before_us:Int64}), toUUID({before_id:String}))"
            )
            parameters["before_us"], parameters["before_id"] = before
        if more:
            chosen = f"{chosen} {'AND' if chosen else 'WHERE'} {' AND '.join(more)}"
        sql = (
            f"SELECT {SELECTED} FROM usage_events{chosen}"  # noqa: S608 - constants, see above.
            " ORDER BY started_at DESC, event_id DESC LIMIT {limit:UInt32}"
        )
        return await self._clickhouse.rows(sql, {**parameters, "limit": limit})

    async def mismatches(self, request_id: str) -> list[dict[str, Any]]:
        return await self._clickhouse.rows(_MISMATCHES, {"request_id": request_id})

    async def counts(self) -> dict[str, int]:
        return (await self._clickhouse.rows(_COUNTS, {}))[0]


def _chosen(where: UsageFilter) -> tuple[str, dict[str, Any]]:
    parameters = {name: value for name in _CONDITIONS if (value := getattr(where, name, ""))}
    text = " AND ".join(_CONDITIONS[name] for name in parameters)
    return (f" WHERE {text}" if text else ""), parameters
