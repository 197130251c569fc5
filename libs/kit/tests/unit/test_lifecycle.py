"""The states of a process, as its admin port tells them."""

import json

import pytest
from prometheus_client import CollectorRegistry

from tollgate_kit.admin import AdminServer
from tollgate_kit.lifecycle import Lifecycle, State

pytestmark = pytest.mark.unit


def readyz(lifecycle):
    """Returns the status line and body of /readyz, as the admin port writes them."""
    admin = AdminServer("", lifecycle, CollectorRegistry(), lambda: "sha256:1")
    status, _, body = admin.route(b"/readyz")
    return status, json.loads(body)


async def test_a_process_starts_serves_drains_and_stops():
    lifecycle = Lifecycle()
    found = []
    steps = (lambda: None, lifecycle.ready, lambda: lifecycle.stop("a signal"), lifecycle.stopped)
    for step in steps:
        step()
        found.append(readyz(lifecycle))
    states = ("starting", "ready", "draining", "stopped")
    assert [body["state"] for _, body in found] == list(states)
    assert [status for status, _ in found] == [
        b"200 OK" if state == "ready" else b"503 Service Unavailable" for state in states
    ]
    assert [body["missing"] for _, body in found] == [
        [] if state == "ready" else [f"process is {state}"] for state in states
    ]


async def test_what_is_missing_keeps_a_process_from_being_ready():
    lifecycle = Lifecycle()
    lifecycle.ready()
    reasons = ["Redis is not connected"]
    lifecycle.add_blocker(lambda: reasons[0] if reasons else None)
    assert readyz(lifecycle)[1]["missing"] == reasons
    reasons.clear()
    assert readyz(lifecycle) == (
        b"200 OK",
        {"ready": True, "state": "ready", "missing": [], "notes": [], "config_digest": "sha256:1"},
    )


async def test_what_one_should_know_is_said_and_keeps_no_process_from_being_ready():
    lifecycle = Lifecycle()
    lifecycle.ready()
    notes = ["Redis is not connected: some go on without it"]
    lifecycle.add_note(lambda: notes[0] if notes else None)
    status, body = readyz(lifecycle)
    assert (status, body["ready"], body["notes"]) == (b"200 OK", True, notes)
    notes.clear()
    assert readyz(lifecycle)[1]["notes"] == []


async def test_a_process_that_is_told_to_stop_while_it_starts_never_says_that_it_is_ready():
    lifecycle = Lifecycle()
    lifecycle.stop("a signal")
    lifecycle.ready()
    assert lifecycle.state is State.DRAINING
    assert lifecycle.stopping.is_set()
