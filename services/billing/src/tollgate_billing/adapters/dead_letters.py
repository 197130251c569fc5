"""Records that could not be used go to a topic of their own, with their bytes and the reason in headers."""

from collections.abc import Sequence
from typing import Final

from tollgate_billing.ports import Letter
from tollgate_kit.event_log import EventProducer, Record

TOPIC: Final = "usage.dead-letter.v1"


class DeadLetterTopic:
    def __init__(self, producer: EventProducer) -> None:
        self._producer = producer

    async def send(self, letters: Sequence[Letter]) -> None:
        await self._producer.send(
            TOPIC,
            [
                Record(
                    letter.key,
                    letter.value,
                    (
                        ("error", letter.reason.encode()),
                        ("topic", letter.topic.encode()),
                        ("partition", str(letter.partition).encode()),
                        ("offset", str(letter.offset).encode()),
                    ),
                )
                for letter in letters
            ],
        )
