"""What a topic is made as: its file, bounded by what the cluster has."""

import pytest

from tollgate.topics import TOPICS
from tollgate_kit.event_log.kafka_topics import planned

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("brokers", "replicas", "in_sync"), [(1, 1, "1"), (2, 2, "1"), (3, 3, "2"), (9, 3, "2")])
def test_a_cluster_bounds_replicas_and_one_of_those_in_sync_may_be_away(brokers, replicas, in_sync):
    made = planned("usage.recorded.v1", brokers)
    assert made.num_partitions == 12
    assert made.replication_factor == replicas
    assert made.topic_configs == TOPICS["usage.recorded.v1"]["settings"] | {"min.insync.replicas": in_sync}


def test_partitions_that_a_url_asks_for_take_the_place_of_the_files():
    assert planned("usage.dead-letter.v1", 1).num_partitions == 1
    assert planned("usage.dead-letter.v1", 1, 4).num_partitions == 4


def test_a_topic_of_somebody_else_is_made_by_the_defaults_of_the_broker():
    made = planned("other", 3)
    assert (made.num_partitions, made.replication_factor, made.topic_configs) == (12, 3, {})
