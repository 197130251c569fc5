"""One round on the cluster profile, in which servers are killed and stand still, adds up."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.accidents import CLUSTER, KINDS, Accident, draw
from tests.chaos.cluster import SERVERS, Cluster
from tests.chaos.rounds import SETTINGS, check_round, run_round
from tests.integration.product import Product
from tests.servers.process import free_port

pytestmark = pytest.mark.integration

ACCIDENTS = [
    Accident("kill", ("kafka", "router"), 5, 0.0),
    Accident("kill", ("edge", "media-jobs"), 5, 0.0),
    Accident("stand still", ("kafka",), 5, 0.5),
    Accident("kill", ("billing", "postgresql", "valkey", "clickhouse"), 5, 0.0),
]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Servers of this test's own, not started."""
    made = Cluster(tmp_path / "servers")
    yield made
    made.stop()


def test_every_book_adds_up_after_servers_were_killed(tmp_path, cluster):
    product = Product(tmp_path, ["--port", str(free_port())], environment=SETTINGS | cluster.start())
    try:
        product.start()
        # What the product would start itself is none of its processes here.
        assert not product.read_ready()["processes"].get("valkey")
        found = run_round(product, ACCIDENTS, Random(1), cluster)
    finally:
        product.stop()
    check_round(found)
    assert found.kills == Counter([*CLUSTER]) - Counter(["simulator"])
    assert sum(answer.answered for answer in found.answers) >= 50
    assert not (product.home / "log" / "events.sqlite").exists()


def test_a_seed_decides_what_happens_to_servers_and_all_of_them_are_hurt():
    drawn = [draw(source, KINDS, CLUSTER) for source in [Random(5)] for _ in range(300)]
    assert drawn == [draw(source, KINDS, CLUSTER) for source in [Random(5)] for _ in range(300)]
    assert {one.kind for one in drawn} == set(KINDS)
    for kind in ("kill", "stand still"):
        hurt = {name for one in drawn if one.kind == kind for name in one.services}
        assert hurt == set(CLUSTER) > set(SERVERS)
    away = {one.seconds for one in drawn if one.kind == "kill"}
    assert 0.0 in away
    assert max(away) > 40


def test_accidents_of_embedded_runs_are_those_of_earlier_reports():
    """Their seeds are in the report: round 1 of seed 20261130."""
    source = Random("20261130/1")
    assert [str(draw(source)) for _ in range(source.randint(1, 4))] == [
        "kill the supervisor",
        "kill media-jobs",
        "kill simulator+billing",
    ]
