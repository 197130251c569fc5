"""What alerts ask of the usage store, as tests say."""

from tollgate_billing.control_ports import Troubled
from tollgate_billing.errors import UsageStoreUnavailable

NOTHING = Troubled(0, 0, (), ())


class FakeTroubles:
    """`found` has (at in microseconds, request, name) by kind; `away` makes it refuse."""

    def __init__(self):
        self.found = {"mismatches": [], "unpriced": []}
        self.last_letter = 0
        self.away = False

    async def mismatches(self, since_us):
        return self._of("mismatches", since_us)

    async def unpriced(self, since_us):
        return self._of("unpriced", since_us)

    async def last_letter_us(self):
        if self.away:
            raise UsageStoreUnavailable("away")
        return self.last_letter

    def _of(self, kind, since_us):
        if self.away:
            raise UsageStoreUnavailable("away")
        rows = [row for row in self.found[kind] if row[0] >= since_us]
        if not rows:
            return NOTHING
        times, requests, names = zip(*rows, strict=True)
        return Troubled(len(rows), max(times), tuple(sorted(set(requests))), tuple(sorted(set(names))))
