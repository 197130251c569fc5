"""The usage store as booking needs it."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from tollgate_billing.adapters.arrow import Kinds, arrow_table
from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.usage_schema import REPLICATED_WINDOW, REPLICATED_WINDOW_SECONDS
from tollgate_billing.domain.fields import TOKEN_FIELDS
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Booked
from tollgate_billing.domain.recent import RecentIds
from tollgate_billing.domain.rows import AMOUNTS, IDS, Block, Row, booked_of

TIMES: Final = ("started_at", "ended_at", "logged_at", "ingested_at")
COLUMNS: Final = (
    *("event_id", "kind", "corrects_event_id", "request_id", "try", "attempt", "source", "status", "replay", "final"),
    *(
        "superseded",
        "estimated",
        "trace_id",
        "trace_kept",
        *TIMES,
        "organization_id",
        "project_id",
        "api_key_id",
        "tags",
        "member",
    ),
    *(
        "price_group",
        "model",
        "requested_model",
        "fallback_reason",
        "upstream_model",
        "provider",
        "channel",
        "dialect",
        "operation",
        "stream",
        "outcome",
    ),
    *(
        "upstream_status",
        "error_kind",
        "media_job_id",
        "client_network",
        "prompt_hash",
        "routing",
        *TOKEN_FIELDS,
        "requests",
        "images",
        "extra_units",
        "service_tier",
    ),
    *("charge", "cost", "loss", "currency", "unpriced", "price_digest", "rate_digest", "list_currency", "list_charge"),
    *("provider_currency", "provider_cost", "hold", "limits", "config_digest", "upstream_started_us"),
    *("first_byte_us", "total_us", "batch", "src_epoch", "src_topic", "src_partition", "src_offset", "src_index"),
)
SELECTED: Final = ", ".join(
    f"toUnixTimestamp64Micro({name}) AS {name}_us" if name in TIMES else f"`{name}`" for name in COLUMNS
)
_TEXTS: Final = ("request_id", "trace_id", "api_key_id", "media_job_id", "routing", "limits", "batch")
_FLAGS: Final = ("replay", "final", "superseded", "estimated", "trace_kept", "stream", "unpriced")
KINDS: Final[Kinds] = (
    dict.fromkeys(COLUMNS, "word")
    | dict.fromkeys(IDS, "id")
    | dict.fromkeys(AMOUNTS, "amount")
    | dict.fromkeys(TIMES, "time")
    | dict.fromkeys(_TEXTS, "text")
    | dict.fromkeys(_FLAGS, "flag")
    | dict.fromkeys(("try", "attempt"), "u8")
    | dict.fromkeys(("upstream_status", "src_partition", "src_index"), "u16")
    | dict.fromkeys(("upstream_started_us", "first_byte_us", "total_us"), "u32")
    | dict.fromkeys((*TOKEN_FIELDS, "requests", "images", "src_offset", "prompt_hash"), "u64")
    | {"extra_units": "units"}
)
_MISMATCH_KINDS: Final[Kinds] = (
    {"event_id": "id"}
    | dict.fromkeys(("request_id", "organization_id", "model", "price_digest", "reason", "detail", "batch"), "text")
    | {"found_pico": "i64", "expected_pico": "i64", "src_offset": "u64", "found_at": "time"}
)
_POISON_KINDS: Final[Kinds] = {
    "topic": "text",
    "partition": "u16",
    "offset": "u64",
    "logged_at": "time",
    "reason": "text",
    "key_base64": "text",
    "value_base64": "text",
}
_IDS: Final = """
SELECT event_id, toUnixTimestamp64Micro(logged_at) AS at FROM usage_events
WHERE src_epoch = {epoch:String} AND src_topic = {topic:String} AND src_partition = {partition:UInt16}
  AND src_offset < {low:UInt64} AND kind = 'usage' AND logged_at >= fromUnixTimestamp64Micro({since:Int64})
"""
HISTORY: Final = f"""
SELECT {SELECTED} FROM usage_events
WHERE request_id IN {{requests:Array(String)}}
  AND NOT (src_epoch = {{epoch:String}} AND src_topic = {{topic:String}}
           AND src_partition = {{partition:UInt16}} AND src_offset >= {{low:UInt64}})
ORDER BY logged_at, src_offset, src_index
"""  # noqa: S608 - the columns are constants; everything else is a parameter.
_PRESENT: Final = """
SELECT src_offset, src_index FROM usage_events
WHERE src_epoch = {epoch:String} AND src_topic = {topic:String} AND src_partition = {partition:UInt16}
  AND src_offset >= {low:UInt64} AND src_offset < {high:UInt64}
"""
# Each block of a batch takes a place in the window of its table for each partition, and a batch may have a second one
# of what was left of it. The seconds are those of a cluster's window, less a day.
_REMEMBERED: Final = f"""
WITH (
    SELECT min(ingested_at) FROM usage_events
    WHERE src_epoch = {{epoch:String}} AND src_topic = {{topic:String}} AND src_partition = {{partition:UInt16}}
      AND src_offset >= {{low:UInt64}} AND src_offset < {{high:UInt64}}
) AS since
SELECT 2 * uniqExact(batch, toMonday(started_at), toYYYYMM(started_at)) < {REPLICATED_WINDOW}
    AND since > now() - {REPLICATED_WINDOW_SECONDS - 24 * 3600} AS remembered
FROM usage_events WHERE ingested_at >= since
"""  # noqa: S608 - numbers of ours; everything else is a parameter.
_IDS_A_QUERY: Final = 1_000


class ClickHouseUsageStore:
    _history = HISTORY

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def _rows(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        return await self._clickhouse.rows(sql, parameters, booking=True)

    async def recent_ids(self, source: Bounds, since_us: int) -> RecentIds:
        found = await self._rows(_IDS, {**_about(source), "since": since_us})
        return RecentIds((row["event_id"].bytes, row["at"]) for row in found)

    async def history(self, requests: AbstractSet[str], before: Bounds) -> dict[str, list[Booked]]:
        names = sorted(requests)
        rows: list[Row] = []
        for first in range(0, len(names), _IDS_A_QUERY):
            part = {**_about(before), "requests": names[first : first + _IDS_A_QUERY]}
            rows += [_as_row(row) for row in await self._rows(self._history, part)]
        return booked_of(rows)

    async def present(self, bounds: Bounds) -> set[tuple[int, int]]:
        found = await self._rows(_PRESENT, {**_about(bounds), "high": bounds.high})
        return {(row["src_offset"], row["src_index"]) for row in found}

    async def remembers(self, bounds: Bounds) -> bool:
        (found,) = await self._rows(_REMEMBERED, {**_about(bounds), "high": bounds.high})
        return bool(found["remembered"])

    def make_ready(self, rows: Block) -> None:
        rows.ready = arrow_table(rows.columns, KINDS)

    async def insert_usage(self, rows: Block, token: str, check: Callable[[], None] | None = None) -> None:
        def made() -> Any:
            table = rows.ready or arrow_table(rows.columns, KINDS)
            if check is not None:
                check()
            return table

        await self._clickhouse.insert("usage_events", made, token)

    async def insert_mismatches(self, rows: Sequence[Row], token: str) -> None:
        await self._clickhouse.insert("usage_mismatches", lambda: _table(rows, _MISMATCH_KINDS), token)

    async def insert_poison(self, rows: Sequence[Row], token: str) -> None:
        await self._clickhouse.insert("usage_poison", lambda: _table(rows, _POISON_KINDS), token)


def _table(rows: Sequence[Row], kinds: Kinds) -> Any:
    return arrow_table({name: [row[name] for row in rows] for name in kinds}, kinds)


def _about(bounds: Bounds) -> dict[str, Any]:
    return {"epoch": bounds.epoch, "topic": bounds.topic, "partition": bounds.partition, "low": bounds.low}


def _as_row(row: dict[str, Any]) -> Row:
    return {name.removesuffix("_us") if name.removesuffix("_us") in TIMES else name: row[name] for name in row}
