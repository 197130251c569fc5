"""The state machine: the whole table, written down a second time, and nothing beside it."""

import itertools

import pytest

from tollgate.media.v1 import media_pb2 as media
from tollgate_media_jobs.domain.states import TERMINAL, TRANSITIONS, JobState, NotAllowed, Trigger, next_state

pytestmark = pytest.mark.unit

TABLE = """
QUEUED          submit       SUBMITTING
QUEUED          give_up      FAILED
SUBMITTING      try_another  QUEUED
SUBMITTING      refused      FAILED
SUBMITTING      answered     INGESTING
SUBMITTING      answer_lost  SUBMIT_UNKNOWN
SUBMIT_UNKNOWN  answered     INGESTING
SUBMIT_UNKNOWN  try_another  QUEUED
SUBMIT_UNKNOWN  refused      FAILED
SUBMIT_UNKNOWN  give_up      FAILED
INGESTING       stored       SUCCEEDED
INGESTING       unusable     FAILED
"""
EXPECTED = {
    (JobState[source], Trigger(trigger)): JobState[target]
    for source, trigger, target in (line.split() for line in TABLE.strip().splitlines())
}


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(JobState, Trigger)))
def test_every_pair_is_in_the_table_or_refused(state, trigger):
    target = EXPECTED.get((state, trigger))
    if target is None:
        with pytest.raises(NotAllowed, match=state.name):
            next_state(state, trigger)
    else:
        assert next_state(state, trigger) is target


def test_states_have_the_numbers_of_the_contract():
    assert {state.name: int(state) for state in JobState} == {
        state.name: media.JobState.Value(f"JOB_STATE_{state.name}") for state in JobState
    }


def test_nothing_leaves_an_end_and_every_state_leads_to_one():
    assert not {source for source, _ in TRANSITIONS} & TERMINAL
    for state in JobState:
        reached = {state}
        while True:
            further = {target for (source, _), target in TRANSITIONS.items() if source in reached} - reached
            if not further:
                break
            reached |= further
        assert reached & TERMINAL


def test_a_lost_answer_never_leads_to_another_submit_by_itself():
    without_answer = {Trigger.GIVE_UP, Trigger.ANSWER_LOST, Trigger.SUBMIT}
    assert {
        target
        for (source, trigger), target in TRANSITIONS.items()
        if source is JobState.SUBMIT_UNKNOWN and trigger in without_answer
    } == {JobState.FAILED}
