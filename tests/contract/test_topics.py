"""What the examples of the topics say holds together: identity, status, money, and the way a status is added later."""

import base64
import json
from pathlib import Path

import pytest
import yaml
from google.protobuf.json_format import Parse
from google.protobuf.message import DecodeError

from tollgate.events.v1.usage_pb2 import EventSource, EventStatus, UsageRecorded
from tollgate_billing.domain.event import repeated_id, rerated_id, settled_id
from tollgate_kit.ids import event_id

pytestmark = pytest.mark.contract

TOPICS = Path(__file__).resolve().parents[2] / "topics"
# Where the example was that another one takes back.
PLACE = ("0123456789abcdef0123456789abcdef", "usage.recorded.v1", 3, 812)
OF_BILLING = {EventStatus.EVENT_STATUS_SETTLED, EventStatus.EVENT_STATUS_REPEATED}
EXAMPLES = sorted((TOPICS / "examples" / "usage.recorded.v1").glob("*.json"))


def topic(name: str):
    return yaml.safe_load((TOPICS / f"{name}.yaml").read_text())


def decoded(path: Path) -> UsageRecorded:
    return UsageRecorded.FromString(path.with_suffix(".binpb").read_bytes())


def test_there_is_an_example_of_every_status_and_source():
    events = [decoded(path) for path in EXAMPLES]
    assert {event.status for event in events} == set(EventStatus.values()) - {EventStatus.EVENT_STATUS_UNSPECIFIED}
    assert {event.source for event in events} == set(EventSource.values()) - {EventSource.EVENT_SOURCE_UNSPECIFIED}
    assert any(not event.final for event in events)
    assert any(event.replay for event in events)
    assert any(event.usage.images for event in events)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_both_forms_of_an_example_are_one_event(path):
    assert decoded(path) == Parse(path.read_text(), UsageRecorded())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_event_is_known_by_request_try_attempt_and_source(path):
    event = decoded(path)
    name = (event.request_id, getattr(event, "try"), event.attempt)
    if event.status == EventStatus.EVENT_STATUS_SETTLED:
        # By its request: nobody else's event came.
        assert event.event_id == settled_id(event.request_id)
    elif event.status == EventStatus.EVENT_STATUS_REPEATED:
        # By the event that it takes back, and by which of its places in the log.
        assert event.event_id == repeated_id(event_id(*name, EventSource.EVENT_SOURCE_ROUTER), PLACE)
    elif event.source == EventSource.EVENT_SOURCE_BILLING:
        # By the event that it corrects, of which there is one.
        assert event.event_id == rerated_id(event_id(*name, EventSource.EVENT_SOURCE_ROUTER))
    else:
        assert event.event_id == event_id(*name, event.source)
    assert getattr(event, "try") >= 1
    assert (event.source == EventSource.EVENT_SOURCE_WITNESS) == (event.status == EventStatus.EVENT_STATUS_WITNESS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_only_a_final_event_charges(path):
    event = decoded(path)
    assert event.tenant.organization_id
    if event.status in OF_BILLING:
        # Neither rates anything: one charges what was settled, the other nothing.
        assert event.source == EventSource.EVENT_SOURCE_BILLING
        assert (event.price_digest, event.cost_pico, event.usage.ByteSize()) == ("", 0, 0)
        assert (event.charge_pico > 0) == (event.status == EventStatus.EVENT_STATUS_SETTLED)
        return
    assert event.started_at_us < event.ended_at_us
    assert event.price_digest.startswith("sha256:")
    if not event.final:
        assert event.charge_pico == 0
    elif not event.unpriced:
        assert 0 < event.cost_pico <= event.charge_pico


def test_a_status_is_added_by_appending_to_the_bytes():
    path = next(path for path in EXAMPLES if path.stem == "chat-confirmed")
    event = decoded(path)
    spooled = UsageRecorded()
    spooled.CopyFrom(event)
    spooled.ClearField("status")
    late = UsageRecorded(status=EventStatus.EVENT_STATUS_CONFIRMED)
    assert UsageRecorded.FromString(spooled.SerializeToString() + late.SerializeToString()) == event


def test_a_dead_letter_is_what_billing_cannot_decode():
    path = TOPICS / "examples" / "usage.dead-letter.v1" / "not-protobuf.json"
    letter = json.loads(path.read_text())
    assert letter["headers"]["topic"] == topic("usage.recorded.v1")["topic"]
    assert set(letter["headers"]) == set(topic("usage.dead-letter.v1")["headers"])
    with pytest.raises(DecodeError):
        UsageRecorded.FromString(base64.b64decode(letter["value"]))
