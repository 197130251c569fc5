"""The words for what keeps requests from a target, and for what operators are told."""

import enum
from dataclasses import dataclass


class Mode(enum.Enum):
    """What an operator has said about a channel."""

    ENABLED = "enabled"
    DRAINING = "draining"
    """No new requests; those that are open go on."""
    DISABLED = "disabled"
    """No new requests and no probes."""


class Obstacle(enum.Enum):
    """Why nothing is sent to a target now."""

    DRAINING = "draining"
    DISABLED = "disabled"
    PROBE_FAILS = "probe_fails"
    BENCHED = "benched"
    BREAKER_OPEN = "breaker_open"
    PROBING = "probing"
    RESTING = "resting"
    FULL = "full"
    """A limit of the account, as the configuration says it, has no room."""


@dataclass(frozen=True, slots=True)
class Hindrance:
    """`until` is infinite where only an operator or a probe ends it."""

    obstacle: Obstacle
    detail: str
    until: float


@dataclass(frozen=True, slots=True)
class Change:
    """Something that operators want to know. `subject` is the channel, `key N` or a model; `seconds` how long."""

    channel: str
    subject: str
    state: str
    reason: str
    seconds: float = 0.0
