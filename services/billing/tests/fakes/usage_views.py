"""The kept questions answered by slow, plain Python over rows of the usage store; shares no code with the product."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal, localcontext
from types import SimpleNamespace

MONEY = Decimal("1E-12")
BUCKETS = {"minute": 60, "hour": 3600, "day": 86400}
FAILED = {"upstream_error", "upstream_cut", "timeout"}


class FakeUsageViews:
    """`known` are the views; answers come from `store.usage`, a list of rows."""

    def __init__(self, store, known):
        self._store = store
        self._known = known
        # What `latency` saw last, in ms and in order: totals and first bytes by provider and channel.
        self.samples = {}

    def views(self):
        return self._known

    async def ask(self, view, values, limit):
        rows = getattr(self, view.name)(dict(values))
        names = [column.name for column in view.columns]
        assert all(list(row) == names for row in rows), (view.name, rows[:1])
        return SimpleNamespace(
            columns=[(name, "") for name in names], rows=[tuple(row.values()) for row in rows[:limit]]
        )

    def spend_by_model(self, asked):
        def line(key, rows):
            return dict(zip(("organization_id", "model", "currency"), key, strict=True)) | {
                "requests": total(rows),
                "errors": total(rows, lambda row: row["outcome"] != "ok"),
                "input_tokens": total(rows, "input_tokens"),
                "output_tokens": total(rows, "output_tokens"),
                "charge": money(rows, "charge"),
            }

        found = self._grouped(asked, "hour", ("organization_id", "model", "currency"), line)
        return sorted(found, key=lambda row: (-row["charge"], row["organization_id"], row["model"], row["currency"]))

    def spend_by_project(self, asked):
        def line(key, rows):
            return dict(zip(("organization_id", "project_id", "currency"), key, strict=True)) | {
                "requests": total(rows),
                "unpriced": total(rows, "unpriced"),
                "charge": money(rows, "charge"),
            }

        found = self._grouped(asked, "day", ("organization_id", "project_id", "currency"), line)
        return sorted(found, key=lambda row: (-row["charge"], *list(row.values())[:3]))

    def top_keys(self, asked):
        keys = ("organization_id", "project_id", "api_key_id", "currency")

        def line(key, rows):
            return dict(zip(keys, key, strict=True)) | {"requests": total(rows), "charge": money(rows, "charge")}

        found = self._grouped(asked, "hour", keys, line)
        order = ("api_key_id", "project_id", "organization_id", "currency")
        return sorted(found, key=lambda row: (-row["charge"], *[row[name] for name in order]))[: asked["top"]]

    def margin_by_provider(self, asked):
        def line(key, rows):
            charge, cost = money(rows, "charge"), money(rows, "cost")
            return {
                "provider": key[0],
                "currency": key[1],
                "requests": total(rows),
                "charge": charge,
                "cost": cost,
                "loss": money(rows, "loss"),
                "margin": charge - cost,
                "margin_share": float((charge - cost) / charge) if charge else None,
            }

        found = self._grouped(asked, "day", ("provider", "currency"), line)
        return sorted(found, key=lambda row: (-row["charge"], row["provider"], row["currency"]))

    def latency(self, asked):
        def line(key, rows):
            taken, first = times(rows, "total_us"), times(rows, "first_byte_us")
            self.samples[key] = (taken, first)
            figures = [quantile(one, part) for one in (taken, first) for part in (0.5, 0.95, 0.99)]
            names = ("p50_ms", "p95_ms", "p99_ms", "first_byte_p50_ms", "first_byte_p95_ms", "first_byte_p99_ms")
            return {"provider": key[0], "channel": key[1], "attempts": len(attempts(rows))} | dict(
                zip(names, figures, strict=True)
            )

        found = self._grouped(asked, "minute", ("provider", "channel"), line)
        return sorted((row for row in found if row["attempts"]), key=lambda row: (row["provider"], row["channel"]))

    def channel_errors(self, asked):
        by_minute = defaultdict(list)
        for row in self._within(asked, "minute"):
            if row["channel"] == asked["channel"]:
                by_minute[begin(row, "minute")].append(row)
        found = []
        for minute, rows in sorted(by_minute.items()):
            calls = attempts(rows)
            failed = sum(row["outcome"] in FAILED for row in calls)
            if calls:
                share = failed / len(calls)
                found.append(
                    {"minute": minute, "attempts": len(calls), "failed_attempts": failed, "error_share": share}
                )
        return found

    def burn_rate(self, asked):
        since, until = moment(asked["since"]), moment(asked["until"])
        keys = ("organization_id", "project_id", "currency")
        recent = grouped(self._within(asked, "minute"), keys)
        month = until.replace(day=1, hour=0, minute=0, second=0)
        days = asked | {"since": f"{month:%Y-%m-%d %H:%M:%S}", "until": f"{until + timedelta(seconds=1):%F %T}"}
        whole = grouped(self._within(days, "day"), keys)
        found = []
        for key in recent.keys() | whole.keys():
            spent, of_month = money(recent.get(key, []), "charge"), money(whole.get(key, []), "charge")
            rate = cut(spent * 3600 / max(1, int((until - since).total_seconds())))
            budget = Decimal(asked["budget"])
            left = max(0.0, float((budget - of_month) / rate)) if budget and rate > 0 else None
            amounts = {"charge": spent, "charge_per_hour": rate, "charge_of_month": of_month, "hours_left": left}
            found.append(dict(zip(keys, key, strict=True)) | amounts)
        return sorted(found, key=lambda row: (-row["charge"], *[row[name] for name in keys]))

    def request(self, asked):
        rows = [row for row in self._of(asked) if row["request_id"] == asked["request_id"]]
        same = ("request_id", "event_id", "kind", "try", "attempt", "source", "status", "final", "superseded")
        more = ("model", "outcome", "error_kind", "input_tokens", "cache_read_tokens", "output_tokens", "charge")
        last = ("currency", "estimated", "unpriced", "price_digest")
        hidden = ("provider", "channel", "upstream_model", "upstream_status", "cost", "loss")
        return [
            {name: plain(row[name]) for name in same}
            | {"started_at": datetime.fromtimestamp(row["started_at"] / 1e6, UTC)}
            | {name: plain(row[name]) for name in (*more, *last)}
            | {"total_ms": round(row["total_us"] / 1000, 1)}
            | {name: plain(row[name]) for name in hidden}
            for row in sorted(rows, key=lambda row: (row["logged_at"], row["src_offset"], row["src_index"]))
        ]

    def cache_share(self, asked):
        def line(key, rows):
            requests, hits = total(rows), total(rows, lambda row: row["cache_read_tokens"] > 0)
            fresh, read = total(rows, "input_tokens"), total(rows, "cache_read_tokens")
            written = total(rows, "cache_write_5m_tokens") + total(rows, "cache_write_1h_tokens")
            tokens = fresh + read + written
            return {
                "organization_id": key[0],
                "project_id": key[1],
                "requests": requests,
                "cache_hits": hits,
                "hit_share": hits / requests if requests else None,
                "input_tokens": fresh,
                "cache_read_tokens": read,
                "cache_write_tokens": written,
                "token_share": read / tokens if tokens else None,
            }

        found = self._grouped(asked, "day", ("organization_id", "project_id"), line)
        return sorted(found, key=lambda row: (-row["requests"], row["organization_id"], row["project_id"]))

    def media(self, asked):
        lines = []
        for (organization,), rows in grouped(self._within(asked, "day"), ("organization_id",)).items():
            seconds = sum(
                sign(row) * count
                for row in rows
                for name, count in row["extra_units"].items()
                if name.split(":")[0] == "video"
            )
            images = total(rows, "images")
            if images or seconds:
                lines.append({"organization_id": organization, "images": images, "video_seconds": seconds})
        lines.sort(key=lambda row: (-row["images"], -row["video_seconds"], row["organization_id"]))
        return lines[: asked["top"]]

    def output_price(self, asked):
        by = defaultdict(list)
        for row in self._within(asked, "day"):
            by[begin(row, "day"), row["model"], row["currency"]].append(row)
        found = []
        for (day, model, currency), rows in sorted(by.items()):
            out, charge, cost = total(rows, "output_tokens"), money(rows, "charge"), money(rows, "cost")
            if out > 0:
                line = {"day": day.date(), "model": model, "currency": currency, "output_tokens": out, "charge": charge}
                found.append(line | {"charge_per_1k": cut(charge * 1000 / out), "cost_per_1k": cut(cost * 1000 / out)})
        return found

    def invoice_lines(self, asked):
        keys = ("organization_id", "project_id", "model", "price_digest", "currency")
        since, until = (moment(asked[name]).timestamp() * 1e6 for name in ("since", "until"))
        rows = [row for row in self._of(asked) if since <= row["started_at"] < until]
        found = []
        for key, lines in sorted(grouped(rows, keys).items()):
            line = dict(zip(keys, key, strict=True)) | {
                "requests": total(lines),
                "input_tokens": total(lines, "input_tokens"),
                "cache_read_tokens": total(lines, "cache_read_tokens"),
                "cache_write_tokens": total(lines, "cache_write_5m_tokens") + total(lines, "cache_write_1h_tokens"),
                "output_tokens": total(lines, "output_tokens"),
                "images": total(lines, "images"),
                "charge": money(lines, "charge"),
            }
            if line["requests"] or line["charge"]:
                found.append(line)
        return found

    def _of(self, asked):
        wanted = asked.get("organization", "")
        return [row for row in self._store.usage if wanted in {"", row["organization_id"]}]

    def _within(self, asked, bucket):
        since, until = moment(asked["since"]), moment(asked["until"])
        return [row for row in self._of(asked) if since <= begin(row, bucket) < until]

    def _grouped(self, asked, bucket, keys, line):
        return [line(key, rows) for key, rows in grouped(self._within(asked, bucket), keys).items()]


def grouped(rows, keys):
    found = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in keys)].append(row)
    return found


def sign(row):
    return -1 if row["kind"] == "adjustment" else int(row["final"] and not row["superseded"])


def total(rows, what=None):
    if what is None:
        return sum(sign(row) for row in rows)
    value = what if callable(what) else lambda row: row[what]
    return sum(sign(row) * int(value(row)) for row in rows)


def money(rows, name):
    return sum((row[name] for row in rows), Decimal(0)).quantize(MONEY)


def cut(amount):
    with localcontext(prec=60):
        return amount.quantize(MONEY, rounding=ROUND_DOWN)


def attempts(rows):
    return [row for row in rows if row["kind"] == "usage" and row["source"] == "router" and row["outcome"] != "refused"]


def times(rows, name):
    return sorted(row[name] / 1000 for row in attempts(rows) if row["outcome"] == "ok" and row[name] > 0)


def quantile(ordered, part):
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None


def begin(row, bucket):
    second, step = row["started_at"] // 1_000_000, BUCKETS[bucket]
    return datetime.fromtimestamp(second - second % step, UTC)


def moment(text):
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)


def plain(value):
    return (
        int(value)
        if isinstance(value, bool)
        else str(value)
        if hasattr(value, "hex") and not isinstance(value, float)
        else value
    )
