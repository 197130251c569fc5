"""The request log: refused requests beside the usage rows. Read with the questions of `ports.RequestFilter`."""

from collections.abc import Sequence
from typing import Any, Final

from tollgate_billing.adapters.arrow import Kinds, arrow_table
from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.dimensions import conditions
from tollgate_billing.domain.rows import Row
from tollgate_billing.ports import Place, RequestFilter

_KINDS: Final[Kinds] = {
    "event_id": "id",
    "request_id": "text",
    "refused_at": "time",
    "trace_id": "text",
    "organization_id": "word",
    "project_id": "word",
    "api_key_id": "text",
    "tags": "word",
    "member": "word",
    "route": "word",
    "operation": "word",
    "model": "text",
    "stream": "flag",
    "http_status": "u16",
    "code": "word",
    "message": "text",
    "request_bytes": "u64",
    "total_us": "u32",
    "left_out": "u64",
    "kept_until": "u32",
}
_CONDITIONS: Final = {
    **conditions("refused_at"),
    "request_id": "request_id = {request_id:String}",
    "trace_id": "trace_id = {trace_id:String}",
    "error": "code = {error:String}",
    "http_status": "http_status = {http_status:UInt16}",
}
_SHOWN: Final = ", ".join(
    "toUnixTimestamp64Micro(refused_at) AS started_at_us" if name == "refused_at" else name
    for name in _KINDS
    if name != "kept_until"
)
_BEFORE: Final = "(refused_at, event_id) < (fromUnixTimestamp64Micro({before_us:Int64}), toUUID({before_id:String}))"
_WORDS: Final = {"refused", "cancelled"}


class ClickHouseRequestLog:
    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def insert(self, rows: Sequence[Row], token: str) -> None:
        columns = {name: [row[name] for row in rows] for name in _KINDS}
        await self._clickhouse.insert("request_log", lambda: arrow_table(columns, _KINDS), token, aside=True)

    async def find(self, where: RequestFilter, limit: int, before: Place | None) -> list[dict[str, Any]]:
        if where.outcome not in {"", *_WORDS} or where.status not in {"", "refused"}:
            return []
        parameters: dict[str, Any] = {name: value for name in _CONDITIONS if (value := getattr(where, name))}
        chosen = [_CONDITIONS[name] for name in parameters]
        if where.outcome:
            chosen.append(f"http_status {'=' if where.outcome == 'cancelled' else '!='} 499")
        if before is not None:
            chosen.append(_BEFORE)
            parameters["before_us"], parameters["before_id"] = before
        text = f" WHERE {' AND '.join(chosen)}" if chosen else ""
        sql = (
            f"SELECT {_SHOWN} FROM request_log{text}"  # noqa: S608 - constants, see above.
            " ORDER BY refused_at DESC, event_id DESC LIMIT 1 BY event_id LIMIT {limit:UInt32}"
        )
        return await self._clickhouse.rows(sql, {**parameters, "limit": limit})
