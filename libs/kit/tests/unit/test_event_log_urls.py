"""Which URL means which log."""

import pytest

from tollgate_kit.event_log import new_consumer, new_producer

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "url",
    [
        *("", "sqlite:///", "redis://h:1", "kafka://", "kafka://h:1?partitions=0", "kafka://h:1?partitions=many"),
        "kafka://h:1?partitions=2&session_seconds=0",
    ],
)
def test_a_url_of_another_kind_is_refused(url):
    with pytest.raises(ValueError):
        new_producer(url)
    with pytest.raises(ValueError):
        new_consumer(url, "g", ["t"])


def test_a_file_is_not_opened_before_it_is_used(tmp_path):
    new_producer(f"sqlite:///{tmp_path}/new/events.sqlite")
    assert list(tmp_path.iterdir()) == []
