"""Dead letters as the usage store keeps them, and the topic that they go back to."""

import base64
from collections.abc import Collection, Sequence
from typing import Any, Final

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.errors import Unavailable
from tollgate_billing.letter_ports import LetterId
from tollgate_billing.ports import Letter
from tollgate_kit.event_log import EventLogUnavailable, EventProducer, Record

_FIELDS: Final = (
    "topic, partition, offset, toUnixTimestamp64Micro(logged_at) AS at_us, reason, key_base64, value_base64"
)
# A letter that was set aside twice, by a batch that was repeated after its token was forgotten, is one.
_PAGE: Final = f"""
SELECT {_FIELDS} FROM usage_poison
WHERE (logged_at, partition, offset)
  < (fromUnixTimestamp64Micro({{at_us:Int64}}), {{partition:UInt16}}, {{offset:UInt64}})
ORDER BY logged_at DESC, partition DESC, offset DESC LIMIT 1 BY topic, logged_at, partition, offset
LIMIT {{limit:UInt32}}
"""  # noqa: S608 - the columns are constants; everything else is a parameter.
_ONE: Final = f"""
SELECT {_FIELDS} FROM usage_poison
WHERE logged_at = fromUnixTimestamp64Micro({{at_us:Int64}}) AND partition = {{partition:UInt16}}
  AND offset = {{offset:UInt64}}
LIMIT 1
"""  # noqa: S608 - see above.
_BOOKED: Final = "SELECT DISTINCT event_id FROM usage_events WHERE request_id IN {requests:Array(String)}"
# 2262: beyond every letter.
_END: Final = LetterId(9_000_000_000_000_000, 0, 0)
_MOST_PARTITIONS: Final = 1 << 16


class ClickHouseLetters:
    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def letters(self, limit: int, before: LetterId | None) -> list[Letter]:
        end = before or _END
        if end.partition >= _MOST_PARTITIONS or end.at_us > _END.at_us:
            return []
        rows = await self._clickhouse.rows(_PAGE, {**end._asdict(), "limit": limit}, aside=True)
        return [letter_of(row) for row in rows]

    async def letter(self, letter_id: LetterId) -> Letter | None:
        if letter_id.partition >= _MOST_PARTITIONS or letter_id.at_us > _END.at_us:
            return None
        rows = await self._clickhouse.rows(_ONE, letter_id._asdict(), aside=True)
        return letter_of(rows[0]) if rows else None

    async def booked(self, requests: Collection[str]) -> set[bytes]:
        rows = await self._clickhouse.rows(_BOOKED, {"requests": sorted(requests)}, aside=True)
        return {row["event_id"].bytes for row in rows}


class UsageProducer:
    def __init__(self, producer: EventProducer) -> None:
        self._producer = producer

    async def send(self, topic: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        try:
            await self._producer.send(topic, [Record(key, value) for key, value in records])
        except EventLogUnavailable as error:
            raise Unavailable(str(error)) from error


def letter_of(row: dict[str, Any]) -> Letter:
    """Returns the letter of a row."""
    return Letter(
        row["topic"],
        row["partition"],
        row["offset"],
        row["at_us"],
        base64.b64decode(row["key_base64"]),
        base64.b64decode(row["value_base64"]),
        row["reason"],
    )
