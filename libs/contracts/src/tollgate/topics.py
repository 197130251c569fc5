"""What the topics of topics/ are created as, by their names. Written by `make topics`; do not edit."""

from collections.abc import Mapping
from typing import Final, TypedDict


class Topic(TypedDict):
    """`settings` are those of Kafka, as it names and writes them."""

    partitions: int
    replication_factor: int
    settings: Mapping[str, str]


TOPICS: Final[Mapping[str, Topic]] = {
    "request.refused.v1": {
        "partitions": 12,
        "replication_factor": 3,
        "settings": {
            "retention.ms": "86400000",
            "min.insync.replicas": "1",
            "cleanup.policy": "delete",
            "max.message.bytes": "1048576"
        }
    },
    "usage.dead-letter.v1": {
        "partitions": 1,
        "replication_factor": 3,
        "settings": {
            "retention.ms": "2592000000",
            "min.insync.replicas": "2",
            "cleanup.policy": "delete"
        }
    },
    "usage.recorded.v1": {
        "partitions": 12,
        "replication_factor": 3,
        "settings": {
            "retention.ms": "1209600000",
            "min.insync.replicas": "2",
            "cleanup.policy": "delete",
            "max.message.bytes": "1048576"
        }
    }
}
