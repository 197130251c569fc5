"""SQL and exports over nothing: what the service does around them is what is tested with these."""

from tollgate_billing.domain.table import Table


class FakeUsageSql:
    def __init__(self, rows=()):
        self.rows = list(rows)
        self.asked = []

    async def run(self, sql, limit):
        self.asked.append((sql, limit))
        return Table([("n", "UInt64")], self.rows[: limit + 1])


class FakeUsageExport:
    def __init__(self, pieces=(b"PAR1", b"PAR1")):
        self.pieces = pieces
        self.asked = []

    async def month(self, organization_id, month, columns):
        self.asked.append((organization_id, month, columns))
        for piece in self.pieces:
            yield piece
