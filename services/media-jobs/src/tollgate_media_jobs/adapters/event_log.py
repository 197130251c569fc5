"""The outbox's way into the event log."""

from collections.abc import Sequence
from itertools import groupby

from tollgate_kit.event_log import EventLogUnavailable, EventProducer, Record
from tollgate_media_jobs.domain.job import Message
from tollgate_media_jobs.errors import Unavailable


class ProducerEventLog:
    def __init__(self, producer: EventProducer) -> None:
        self._producer = producer

    async def send(self, messages: Sequence[tuple[Message, bytes]]) -> None:
        for topic, batch in groupby(messages, key=lambda pair: pair[0].topic):
            records = [Record(message.key, payload, _headers(message)) for message, payload in batch]
            try:
                await self._producer.send(topic, records)
            except EventLogUnavailable as error:
                raise Unavailable(f"the event log is away: {error}") from error


def _headers(message: Message) -> tuple[tuple[str, bytes], ...]:
    return (("traceparent", message.traceparent.encode()),) if message.traceparent else ()
