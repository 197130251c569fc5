"""What budgets ask of usage, from plain rows; and a sender that keeps what it was given."""

from collections import defaultdict

from tollgate_billing.control_ports import Outcome
from tollgate_billing.domain.anomalies import KeyHour, KeyNetwork, Repeat
from tollgate_billing.domain.budgets import HOUR_US
from tollgate_billing.domain.forecast import SPAN_US, Pace
from tollgate_billing.domain.rows import to_pico
from tollgate_billing.errors import UsageStoreUnavailable

_COLUMNS = {"project": "project_id", "member": "member", "key": "api_key_id", "model": "model"}


class FakeSpending:
    """Asks the rows of a fake usage store; `away` makes it refuse."""

    def __init__(self, store):
        self.store = store
        self.away = False
        self.asked = 0

    async def spent(self, asked):
        self.asked += len(asked)
        return [sum(to_pico(row["charge"]) for row in self._rows(one.part, one.begin_us, one.end_us)) for one in asked]

    async def pace(self, part, now_us):
        rows = self._rows(part, now_us - SPAN_US, 0)
        first = min((row["started_at"] for row in rows if row["charge"] > 0), default=0)
        return Pace(sum(to_pico(row["charge"]) for row in rows), first)

    async def hours(self, spend):
        found = defaultdict(int)
        for row in self._rows(spend.part, spend.begin_us, 0):
            found[row["started_at"] // HOUR_US * HOUR_US] += to_pico(row["charge"])
        return sorted(found.items())

    async def key_hours(self, since_us, until_us, active_since_us):
        found = [one for one in self._hours(since_us, until_us, "api_key_id") if one.api_key_id]
        active = {(one.organization_id, one.api_key_id) for one in found if one.hour_us >= active_since_us}
        return [one for one in found if one.requests > 0 and (one.organization_id, one.api_key_id) in active]

    async def project_hours(self, since_us, until_us, active_since_us):
        found = self._hours(since_us, until_us, None)
        active = {one.organization_id for one in found if one.hour_us >= active_since_us}
        return [one for one in found if one.requests > 0 and one.organization_id in active]

    def _hours(self, since_us, until_us, key):
        found = defaultdict(lambda: [0, 0, 0, ""])
        for row in self.store.usage:
            hour = row["started_at"] // HOUR_US * HOUR_US
            if not since_us <= hour < until_us:
                continue
            sign = -1 if row["kind"] == "adjustment" else int(row["final"] and not row["superseded"])
            whose = row[key] if key else ""
            values = found[row["organization_id"], row["project_id"], whose, row["model"], hour]
            values[0] += sign
            values[1] += sign * (row["outcome"] != "ok")
            values[2] += to_pico(row["charge"])
            values[3] = row["currency"]
        return [KeyHour(*name, *values) for name, values in sorted(found.items())]

    def _usage(self, since_us, until_us):
        rows = self.store.usage
        return [row for row in rows if row["kind"] == "usage" and since_us <= row["started_at"] < until_us]

    async def key_networks(self, since_us, until_us, active_since_us):
        found, active = {}, set()
        for row in self._usage(since_us, until_us):
            if not row["client_network"]:
                continue
            key = (row["organization_id"], row["api_key_id"])
            name, at = (*key, row["client_network"]), row["started_at"]
            found[name] = row["project_id"], min(at, found.get(name, (0, at))[1])
            if at >= active_since_us and row["api_key_id"]:
                active.add(key)
        return [
            KeyNetwork(name[0], project, name[1], name[2], first)
            for name, (project, first) in sorted(found.items())
            if name[:2] in active
        ]

    async def repeats(self, since_us, until_us, hour_us, fewest):
        hours = defaultdict(lambda: defaultdict(list))
        for row in self._usage(since_us, until_us):
            if row["final"] and not row["superseded"] and row["prompt_hash"] and row["api_key_id"]:
                name = (row["organization_id"], row["api_key_id"], row["prompt_hash"])
                hours[name][row["started_at"] // HOUR_US * HOUR_US].append(row)
        return [
            Repeat(
                *(name[0], of_hour[hour_us][0]["project_id"], name[1], name[2], len(of_hour[hour_us])),
                sum(to_pico(row["charge"]) for row in of_hour[hour_us]),
                of_hour[hour_us][0]["currency"],
                max((len(rows) for hour, rows in of_hour.items() if hour < hour_us), default=0),
            )
            for name, of_hour in sorted(hours.items())
            if len(of_hour.get(hour_us, ())) >= fewest
        ]

    async def members(self, keys, since_us, until_us):
        rows = sorted(self._usage(since_us, until_us), key=lambda row: row["started_at"])
        found = {
            row["api_key_id"]: row["member"] for row in rows if (row["organization_id"], row["api_key_id"]) in keys
        }
        return {key: member for key, member in found.items() if member}

    def _rows(self, part, begin_us, end_us):
        if self.away:
            raise UsageStoreUnavailable("away")
        column = _COLUMNS.get(part.scope)
        return [
            row
            for row in self.store.usage
            if row["organization_id"] == part.organization_id
            and (column is None or row[column] == part.scope_id)
            and (part.scope != "tag" or part.scope_id in row["tags"].split(","))
            and row["started_at"] >= begin_us
            and (not end_us or row["started_at"] < end_us)
        ]


class FakeSender:
    """Keeps letters. `outcomes` are those of the next ones, after which all are taken; `crash` ends it after a send."""

    def __init__(self):
        self.sent, self.outcomes = [], []

    async def send(self, destination, letter):
        self.sent.append((destination.name, letter))
        return self.outcomes.pop(0) if self.outcomes else Outcome()
