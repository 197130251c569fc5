"""The request log in memory."""

import uuid

from services.billing.tests.fakes.crash import Fuse, guarded

from tollgate_billing.use_cases.look_at_requests import order_of

SAME = ("organization_id", "project_id", "api_key_id", "member", "model", "request_id", "trace_id", "http_status")


class FakeRequestLog:
    def __init__(self, fuse=None):
        self.fuse = fuse or Fuse()
        self.rows, self.tokens = {}, set()

    @guarded
    async def insert(self, rows, token):
        if token not in self.tokens:
            self.tokens.add(token)
            self.rows |= {row["event_id"]: row for row in rows}

    @guarded
    async def find(self, where, limit, before):
        rows = [_shown(row) for row in self.rows.values() if _matches(row, where)]
        rows.sort(key=order_of, reverse=True)
        if before is not None:
            place = order_of({"started_at_us": before[0], "event_id": uuid.UUID(before[1])})
            rows = [row for row in rows if order_of(row) < place]
        return rows[:limit]


def _matches(row, where):
    outcome = "cancelled" if row["http_status"] == 499 else "refused"
    return (
        all(row[name] == value for name in SAME if (value := getattr(where, name)))
        and (not where.tag or where.tag in row["tags"].split(","))
        and where.outcome in {"", outcome}
        and where.status in {"", "refused"}
        and where.error in {"", row["code"]}
        and where.from_us <= row["refused_at"] < (where.to_us or 1 << 62)
    )


def _shown(row):
    shown = {name: value for name, value in row.items() if name not in {"kept_until", "refused_at"}}
    return shown | {"started_at_us": row["refused_at"], "event_id": uuid.UUID(bytes=row["event_id"])}
