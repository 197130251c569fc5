"""Some hundred runs of the rule machine on the sound build, and as many as it takes on each broken one."""

import pytest

from tests.model.broken import CommitBeforeInsert, LooksTooEarly, NoDeduplication, OneIntent
from tests.model.run import explore

pytestmark = pytest.mark.unit


def test_nothing_is_lost_or_doubled_whatever_happens():
    explore(150)


@pytest.mark.parametrize("build", [NoDeduplication, CommitBeforeInsert, LooksTooEarly, OneIntent])
def test_a_broken_build_is_found(build):
    # By a seed, so that no run of the tests is the one that looks in the wrong places.
    with pytest.raises(AssertionError):
        explore(1000, build=build, shrink=False, random_seed=1)
    explore(20, shrink=False, random_seed=1)
