"""The state machine of a job, every transition in one table.

Numbers are those of `tollgate.media.v1.JobState`. RUNNING and CANCELLED of that contract belong to providers that
answer with a task of their own, and to cancelling; no transition leads there as long as neither exists.
"""

import enum
from typing import Final


class JobState(enum.IntEnum):
    QUEUED = 1
    # The attempt is committed; the provider may have the request.
    SUBMITTING = 2
    # The provider answered; its results are being copied to our own storage.
    INGESTING = 4
    SUCCEEDED = 5
    FAILED = 6
    # The submit's answer was lost: never sent again.
    SUBMIT_UNKNOWN = 8


class Trigger(enum.Enum):
    SUBMIT = "submit"
    TRY_ANOTHER = "try_another"
    REFUSED = "refused"
    ANSWERED = "answered"
    ANSWER_LOST = "answer_lost"
    GIVE_UP = "give_up"
    STORED = "stored"
    UNUSABLE = "unusable"


TRANSITIONS: Final = {
    (JobState.QUEUED, Trigger.SUBMIT): JobState.SUBMITTING,
    # Too late, no money held any more, or nobody left to ask.
    (JobState.QUEUED, Trigger.GIVE_UP): JobState.FAILED,
    # Provably not acted on.
    (JobState.SUBMITTING, Trigger.TRY_ANOTHER): JobState.QUEUED,
    (JobState.SUBMITTING, Trigger.REFUSED): JobState.FAILED,
    (JobState.SUBMITTING, Trigger.ANSWERED): JobState.INGESTING,
    (JobState.SUBMITTING, Trigger.ANSWER_LOST): JobState.SUBMIT_UNKNOWN,
    # The call's own process was only slow: its answer still counts.
    (JobState.SUBMIT_UNKNOWN, Trigger.ANSWERED): JobState.INGESTING,
    (JobState.SUBMIT_UNKNOWN, Trigger.TRY_ANOTHER): JobState.QUEUED,
    (JobState.SUBMIT_UNKNOWN, Trigger.REFUSED): JobState.FAILED,
    (JobState.SUBMIT_UNKNOWN, Trigger.GIVE_UP): JobState.FAILED,
    (JobState.INGESTING, Trigger.STORED): JobState.SUCCEEDED,
    (JobState.INGESTING, Trigger.UNUSABLE): JobState.FAILED,
}
TERMINAL: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED})


class NotAllowed(ValueError):  # noqa: N818 - a refusal more than a fault.
    """The table has no such transition."""


def next_state(state: JobState, trigger: Trigger) -> JobState:
    """Returns where `trigger` leads from `state`. Raises NotAllowed."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise NotAllowed(f"{trigger.value} is not possible in {state.name}") from None
