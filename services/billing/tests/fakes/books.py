"""The usage store and the ledger in memory, as whoever compares the books asks them."""

from datetime import UTC, datetime

from services.billing.tests.fakes.crash import Fuse, guarded
from services.billing.tests.fakes.letters import letter_of

from tollgate_billing.domain.books import Amounts, BatchLine, Difference
from tollgate_billing.domain.recent import WINDOW_US
from tollgate_billing.domain.rows import to_pico
from tollgate_billing.ports import Account, BatchRow, RepeatedRequest
from tollgate_holds import hold_id_of


class FakeUsageBooks:
    def __init__(self, store, fuse=None):
        self.fuse = fuse or Fuse()
        self._store = store

    @guarded
    async def batch_amounts(self, from_us, to_us):
        batches = {row["batch"] for row in self._store.usage if from_us <= row["ingested_at"] < to_us}
        lines = {_line(row): [] for row in self._store.usage if row["batch"] in batches}
        for row in self._store.usage:
            if row["batch"] in batches:
                lines[_line(row)].append(row)
        return {line: (_sum(rows), len(rows), min(row["ingested_at"] for row in rows)) for line, rows in lines.items()}

    @guarded
    async def amounts_of_batches(self, batches):
        lines = {}
        for row in self._store.usage:
            if row["batch"] in batches:
                lines.setdefault(_line(row), []).append(row)
        return {line: _sum(rows) for line, rows in lines.items()}

    @guarded
    async def rows_of(self, line):
        return [BatchRow(row["request_id"], _sum([row])) for row in self._store.usage if _line(row) == line]

    @guarded
    async def offsets_of(self, batch):
        return sorted({row["src_offset"] for row in self._store.usage if row["batch"] == batch})

    @guarded
    async def repeated(self, from_us, to_us, most, organization_id=""):
        new = [row for row in self._store.usage if from_us <= row["ingested_at"] < to_us]
        late = {row["request_id"] for row in new if row["logged_at"] >= row["started_at"] + WINDOW_US // 2}
        by_request = {}
        for row in self._store.usage:
            if (row["request_id"] in late or row in new) and organization_id in {"", row["organization_id"]}:
                by_request.setdefault(row["request_id"], []).append(row)
        found = []
        for name, rows in sorted(by_request.items()):
            adjustments = [row for row in rows if row["kind"] == "adjustment"]
            repeated = len(rows) - len({row["event_id"] for row in rows})
            repeated -= sum(row["status"] == "repeated" for row in adjustments)
            charged = {
                (row["src_epoch"], row["src_topic"], row["src_partition"], row["src_offset"])
                for row in rows
                if row["kind"] == "usage" and row["final"] and row["charge"] != 0
            }
            standing = len(charged) - len({row["event_id"] for row in adjustments if row["charge"] != 0})
            if repeated > 0 or standing > 1:
                found.append(RepeatedRequest(name, rows[0]["organization_id"], repeated, standing))
        return found[:most]

    @guarded
    async def booked_finals(self, hold_ids, before_us):
        return {
            hold_id: row["batch"]
            for row in self._store.usage
            if (hold_id := hold_id_of(row["request_id"], row["try"])) in hold_ids
            and row["final"]
            and row["kind"] == "usage"
            and row["ingested_at"] < before_us
        }

    @guarded
    async def mismatches_between(self, from_us, to_us, most):
        return [
            Difference(
                "mismatch",
                row["reason"],
                row["organization_id"],
                row["batch"],
                (row["request_id"],),
                row["found_pico"],
                row["expected_pico"],
            )
            for row in self._store.mismatches
            if from_us <= row["found_at"] < to_us
        ][:most]

    @guarded
    async def poison_between(self, from_us, to_us, most):
        return [letter_of(row) for row in self._store.poison if from_us <= row["logged_at"] < to_us][:most]

    @guarded
    async def provider_costs(self, provider, from_us, to_us):
        sums = {}
        for row in self._store.usage:
            if row["provider"] == provider and row["kind"] == "usage" and from_us <= row["started_at"] < to_us:
                day = datetime.fromtimestamp(row["started_at"] / 1e6, UTC).date().isoformat()
                key = (day, row["upstream_model"], row["currency"])
                sums[key] = sums.get(key, 0) + to_pico(row["cost"])
        return [(*key, pico) for key, pico in sorted(sums.items())]


class FakeLedgerBooks:
    def __init__(self, ledger, fuse=None):
        self.fuse = fuse or Fuse()
        self._ledger = ledger

    @guarded
    async def heights(self):
        return {source: high for source, (_, high, _, _) in self._ledger.sources.items()}

    @guarded
    async def transfers_of(self, batches):
        return [one for one in self._moved() if one[0].batch in batches]

    @guarded
    async def transfers_between(self, from_us, to_us):
        return self._moved()

    @guarded
    async def first_us(self):
        return 1 if self._ledger.transfers else 0

    @guarded
    async def batches_of(self, source, since_us):
        return sorted({line.batch for line, *_ in self._moved() if line.batch.startswith(f"{source}/")})

    @guarded
    async def unbalanced(self):
        sums = {}
        for _, transfer in self._ledger.transfers:
            line = transfer.line
            for account, sign in ((line.debit, -1), (line.credit, 1)):
                key = (line.organization_id, account, line.currency)
                sums[key] = sums.get(key, 0) + sign * transfer.amount_pico
        balances = self._ledger.accounts
        return [
            Account(*key, balances.get(key, 0), sums.get(key, 0))
            for key in sorted({*sums, *balances})
            if balances.get(key, 0) != sums.get(key, 0)
        ]

    def _moved(self):
        return [
            (BatchLine(batch, *one.line[:5]), one.line.debit, one.line.credit, one.amount_pico)
            for batch, one in self._ledger.transfers
            if not batch.startswith("grant/")
        ]


def _line(row):
    return BatchLine(*(row[name] for name in BatchLine._fields))


def _sum(rows):
    return Amounts(
        sum(to_pico(row["charge"]) for row in rows),
        sum(to_pico(row["cost"]) for row in rows),
        sum(to_pico(row["loss"]) for row in rows),
    )
