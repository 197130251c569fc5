"""Topics as aiokafka does not show them: their ids, which tell a topic from a later one of the same name.

aiokafka stops at version 5 of the Metadata request; ids came with version 10, which is written down here.
"""

import uuid
from collections.abc import Iterable
from io import BytesIO
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from tollgate.topics import TOPICS, Topic
from tollgate_kit.event_log.port import EventLogUnavailable

_METADATA_KEY: Final = 3
_VERSION: Final = 10
_NO_ID: Final = uuid.UUID(int=0)
_UNKNOWN_TOPIC: Final = 3
_TEXT: Final = CompactString("utf-8")
_INTS: Final = CompactArray(Int32)
# A topic of somebody else.
_NO_FILE: Final[Topic] = {"partitions": 12, "replication_factor": 3, "settings": {}}


class Uuid(AbstractType[uuid.UUID]):  # type: ignore[misc,unused-ignore]  # aiokafka has no types.
    """16 bytes on the wire."""

    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        """Returns the 16 bytes."""
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        """Reads 16 bytes."""
        return uuid.UUID(bytes=data.read(16))


def _rows(*fields: tuple[str, Any]) -> Any:
    return CompactArray(*fields, ("tags", TaggedFields))


_PARTITION: Final = _rows(
    *(("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32)),
    *(("replicas", _INTS), ("isr", _INTS), ("offline_replicas", _INTS)),
)
_TOPIC: Final = _rows(
    *(("error_code", Int16), ("topic", _TEXT), ("topic_id", Uuid), ("is_internal", Boolean)),
    *(("partitions", _PARTITION), ("authorized_operations", Int32)),
)


class MetadataResponse(Response):  # type: ignore[misc,unused-ignore]  # aiokafka has no types.
    """Version 10 of the reply."""

    API_KEY = _METADATA_KEY
    API_VERSION = _VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", _rows(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        ("topics", _TOPIC),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class MetadataRequestV10(RequestStruct):  # type: ignore[misc,unused-ignore]  # aiokafka has no types.
    """Version 10 of the request."""

    FLEXIBLE_VERSION = True
    API_KEY = _METADATA_KEY
    API_VERSION = _VERSION
    RESPONSE_TYPE = MetadataResponse
    SCHEMA = Schema(
        ("topics", _rows(("topic_id", Uuid), ("name", _TEXT))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicsRequest(Request[MetadataRequestV10]):  # type: ignore[misc,unused-ignore]  # aiokafka has no types.
    """Asks what a broker knows of some topics."""

    API_KEY = _METADATA_KEY

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics: list[tuple[uuid.UUID, str, dict[int, bytes]]] = [(_NO_ID, topic, {}) for topic in topics]

    def build(self, request_struct_class: Any) -> Any:
        """Returns the request on the wire."""
        return request_struct_class(self._topics, False, False, False, {})


async def topic_ids(client: Any, topics: Iterable[str]) -> dict[str, str]:
    """Returns the id of each topic that exists, as hex, from a started client's `AIOKafkaClient`. Raises KafkaError."""
    response = await client.send(client.get_random_node(), TopicsRequest(topics))
    found: dict[str, str] = {}
    for code, topic, topic_id, *_ in response.topics:
        if code == 0:
            found[topic] = topic_id.hex
        elif code != _UNKNOWN_TOPIC:
            raise for_code(code)(topic)
    return found


async def create_missing(servers: str, topics: Iterable[str], partitions: int | None = None) -> None:
    """Creates the topics that do not exist as their files say, where the broker allows it. Raises EventLogUnavailable.

    `partitions` takes the place of what the files say.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    try:
        await admin.start()
        missing = set(topics) - set(await admin.list_topics())
        if missing:
            brokers = len(admin._client.cluster.brokers())  # noqa: SLF001 - no other way to ask.
            reply = await admin.create_topics([planned(topic, brokers, partitions) for topic in missing])
            for topic, code, *_ in reply.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise EventLogUnavailable(f"topic {topic} is missing and cannot be made: {for_code(code).__name__}")
    except (KafkaError, OSError) as error:
        raise EventLogUnavailable(f"{servers}: {error!r}") from error
    finally:
        await admin.close()


def planned(topic: str, brokers: int, partitions: int | None = None) -> NewTopic:
    """Returns what is made of a topic's file (topics/) on a cluster of so many brokers.

    There are no more replicas than brokers, and one of those in sync may be away, so that a single broker does too.
    """
    plan = TOPICS.get(topic, _NO_FILE)
    replicas = min(plan["replication_factor"], brokers)
    settings = dict(plan["settings"])
    if in_sync := settings.get("min.insync.replicas"):
        settings["min.insync.replicas"] = str(max(1, min(int(in_sync), replicas - 1)))
    return NewTopic(topic, partitions or plan["partitions"], replicas, topic_configs=settings)
