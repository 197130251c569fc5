"""Dead letters from the rows of the fake usage store, and a topic that appends to the fake log."""

import base64

from services.billing.tests.fakes.crash import Fuse, guarded

from tollgate_billing.errors import Unavailable
from tollgate_billing.ports import Letter


class FakeLetterStore:
    def __init__(self, store, fuse=None):
        self.fuse = fuse or Fuse()
        self._store = store

    @guarded
    async def letters(self, limit, before):
        found = [one for one in self._letters() if before is None or _place(one) < before]
        return sorted(found, key=_place, reverse=True)[:limit]

    @guarded
    async def letter(self, letter_id):
        return next((one for one in self._letters() if _place(one) == letter_id), None)

    @guarded
    async def booked(self, requests):
        return {row["event_id"].bytes for row in self._store.usage if row["request_id"] in requests}

    def _letters(self):
        return {_place(one): one for one in map(letter_of, self._store.poison)}.values()


class FakeUsageTopic:
    """`append` takes the bytes of each record."""

    def __init__(self, append, fuse=None):
        self.fuse = fuse or Fuse()
        self.away = False
        self.sent = []
        self._append = append

    @guarded
    async def send(self, topic, records):
        if self.away:
            raise Unavailable("away")
        for key, value in records:
            self.sent.append((topic, key, value))
            self._append(value)


def letter_of(row):
    """Returns the letter of a row of poison."""
    return Letter(
        row["topic"],
        row["partition"],
        row["offset"],
        row["logged_at"],
        base64.b64decode(row["key_base64"]),
        base64.b64decode(row["value_base64"]),
        row["reason"],
    )


def _place(letter):
    return letter.at_us, letter.partition, letter.offset
