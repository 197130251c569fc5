"""The questions asked of the usage store, answered from the rows of the fake one."""

import itertools
import uuid
from datetime import UTC, datetime

from tollgate_billing.adapters.usage_store import TIMES
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.use_cases.look_at_requests import order_of

PLAIN = {
    "organization": "organization_id",
    "project": "project_id",
    "key": "api_key_id",
    **{name: name for name in ("member", "model", "channel", "provider", "operation", "outcome")},
}
TIMED = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H:00"}
MORE = {"trace_id": "trace_id", "status": "status", "error": "error_kind"}
COUNTED = ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens", "images", "unpriced")


class FakeUsageQueries:
    def __init__(self, store):
        self._store = store

    async def sums(self, where, group_by, limit):
        for name in group_by:
            if name not in {*PLAIN, *TIMED, "tag"}:
                raise InvalidQuery(f"'group_by' takes no {name}.", "group_by")
        groups = {}
        for row in self._rows(where):
            for key in itertools.product(*(_values(row, name) for name in group_by), [row["currency"]]):
                groups.setdefault(key, []).append(row)
        found = [
            _sums(rows) | {f"group_{place}": part for place, part in enumerate(key[:-1])} | {"currency": key[-1]}
            for key, rows in groups.items()
        ]
        return sorted(found, key=lambda row: -row["charge"])[:limit]

    async def requests(self, where, request_id, limit, before):
        rows = [row for row in self._rows(where) if request_id in {"", row["request_id"]}]
        rows = [_shown(row) for row in rows]
        rows.sort(key=order_of, reverse=True)
        if before is not None:
            place = order_of({"started_at_us": before[0], "event_id": uuid.UUID(before[1])})
            rows = [row for row in rows if order_of(row) < place]
        return rows[:limit]

    async def mismatches(self, request_id):
        found = [row for row in self._store.mismatches if row["request_id"] == request_id]
        return [row | {"event_id": uuid.UUID(bytes=row["event_id"]), "found_at_us": row["found_at"]} for row in found]

    async def counts(self):
        store = self._store
        return {"rows": len(store.usage), "poison": len(store.poison), "mismatches": len(store.mismatches)}

    def _rows(self, where):
        asked = dict(zip((*PLAIN.values(), *MORE), (*PLAIN.values(), *MORE.values()), strict=True))
        named = {column: value for name, column in asked.items() if (value := getattr(where, name, ""))}
        for row in self._store.usage:
            since, until = where.from_us or 0, where.to_us or 1 << 62
            if where.tag and where.tag not in row["tags"].split(","):
                continue
            if since <= row["started_at"] < until and all(row[name] == value for name, value in named.items()):
                yield row


def _values(row, name):
    if name == "tag":
        return row["tags"].split(",")
    if name in PLAIN:
        return [row[PLAIN[name]]]
    return [_time(row, name)]


def _time(row, name):
    return datetime.fromtimestamp(row["started_at"] / 1e6, UTC).strftime(TIMED[name])


def _sums(rows):
    def sign(row):
        return -1 if row["kind"] == "adjustment" else int(row["final"] and not row["superseded"])

    return {
        "requests": sum(sign(row) for row in rows),
        **{name: sum(sign(row) * int(row[name]) for row in rows) for name in COUNTED},
        "cache_write_tokens": sum(
            sign(row) * (row["cache_write_5m_tokens"] + row["cache_write_1h_tokens"]) for row in rows
        ),
        "charge": sum(row["charge"] for row in rows),
        "cost": sum(row["cost"] for row in rows),
        "errors": sum(sign(row) * (row["outcome"] != "ok") for row in rows),
    }


def _shown(row):
    return {f"{name}_us" if name in TIMES else name: value for name, value in row.items()}
