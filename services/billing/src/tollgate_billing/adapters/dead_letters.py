"""Records that could not be used go to a topic of their own, with their bytes and the reason in headers.

One that is too large for it, as where the usage topic was given a higher limit, goes there without its bytes: those of
usage are in the usage store, too, and no record may hold up all that come after it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tollgate_billing.ports import Letter
from tollgate_kit.event_log import EventProducer, Record, RecordTooLarge

TOPIC: Final = "usage.dead-letter.v1"


class DeadLetterTopic:
    def __init__(self, producer: EventProducer) -> None:
        self._producer = producer

    async def send(self, letters: Sequence[Letter]) -> None:
        try:
            await self._producer.send(TOPIC, [_record(letter) for letter in letters])
        except RecordTooLarge:
            for letter in letters:
                await self._send_alone(letter)

    async def _send_alone(self, letter: Letter) -> None:
        try:
            await self._producer.send(TOPIC, [_record(letter)])
        except RecordTooLarge:
            reason = f"{letter.reason}; its {len(letter.value)} bytes are more than this topic takes"
            await self._producer.send(TOPIC, [_record(replace(letter, value=b"", reason=reason))])


def _record(letter: Letter) -> Record:
    headers = (
        ("error", letter.reason.encode()),
        ("topic", letter.topic.encode()),
        ("partition", str(letter.partition).encode()),
        ("offset", str(letter.offset).encode()),
    )
    return Record(letter.key, letter.value, headers)
