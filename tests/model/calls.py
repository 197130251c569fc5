"""Requests as the model sees them, what names their events, and rules that are coroutines."""

import functools
from dataclasses import dataclass, field

from tollgate_holds import hold_id_of


@dataclass
class Call:
    """A request as edge sees it. `phase`: open, done (an End was taken), gone (a witness spoke, or nobody)."""

    name: str
    started_us: int
    router: int
    tried: int = 1
    phase: str = "open"
    delivered: int = 0
    settled: bool = False
    # What was charged in the End that edge took.
    taken: int | None = None
    at_router: set = field(default_factory=set)

    @property
    def held(self):
        """The id of what its try holds."""
        return hold_id_of(self.name, self.tried)

    @property
    def model(self):
        """One of three requests is of a model that has no price at first."""
        return "m" if int(self.name[1:]) % 3 else "later"


def key_of(event):
    """Returns what names an event of a router or of edge: request, try and attempt."""
    return event.request_id, getattr(event, "try"), event.attempt


def running(loop_method):
    """Runs a rule that is a coroutine to its end on the machine's own loop."""

    @functools.wraps(loop_method)
    def call(self, **drawn):
        return self.loop.run_until_complete(loop_method(self, **drawn))

    return call
