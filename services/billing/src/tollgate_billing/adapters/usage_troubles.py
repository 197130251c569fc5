"""What alerts ask the usage store, once a minute: rows that billing wrote since, and the newest dead letter."""

from typing import Any, Final

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.control_ports import Troubled

# Names of requests, reasons and models that are told of.
_NAMED: Final = 5
_MISMATCHES: Final = f"""
SELECT count() AS found, toUnixTimestamp64Micro(max(found_at)) AS last_us,
       groupUniqArray({_NAMED})(request_id) AS requests, groupUniqArray({_NAMED})(reason) AS names
FROM usage_mismatches WHERE found_at >= fromUnixTimestamp64Micro({{since_us:Int64}})
"""  # noqa: S608 - constants; everything else is a parameter.
_FRESH: Final = "unpriced AND kind = 'usage' AND ingested_at >= fromUnixTimestamp64Micro({since_us:Int64})"
# What was rated since is no trouble any more. Requests have an index.
_UNPRICED: Final = f"""
SELECT count() AS found, toUnixTimestamp64Micro(max(ingested_at)) AS last_us,
       groupUniqArray({_NAMED})(request_id) AS requests, groupUniqArray({_NAMED})(model) AS names
FROM usage_events
WHERE {_FRESH} AND event_id NOT IN (
    SELECT corrects_event_id FROM usage_events
    WHERE kind = 'adjustment' AND request_id IN (SELECT request_id FROM usage_events WHERE {_FRESH})
)
"""  # noqa: S608 - see above.
_LETTER: Final = "SELECT toUnixTimestamp64Micro(max(logged_at)) AS last_us FROM usage_poison"


class ClickHouseTroubles:
    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def mismatches(self, since_us: int) -> Troubled:
        return await self._troubled(_MISMATCHES, since_us)

    async def unpriced(self, since_us: int) -> Troubled:
        return await self._troubled(_UNPRICED, since_us)

    async def last_letter_us(self) -> int:
        return int((await self._rows(_LETTER, {}))[0]["last_us"])

    async def _troubled(self, sql: str, since_us: int) -> Troubled:
        (row,) = await self._rows(sql, {"since_us": since_us})
        return Troubled(row["found"], row["last_us"], tuple(sorted(row["requests"])), tuple(sorted(row["names"])))

    async def _rows(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        return await self._clickhouse.rows(sql, parameters, watching=True)
