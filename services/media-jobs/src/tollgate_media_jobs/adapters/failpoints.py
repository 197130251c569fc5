"""Where a crash test ends the process, by setting."""

import os
import signal
from typing import Final

NAMES: Final = (
    *("after_hold", "after_create", "after_attempt", "after_answer", "after_stage", "after_answered", "after_lost"),
    *("after_asset", "after_assets", "after_event", "after_end", "after_take", "after_send"),
)


class NoFailpoints:
    def reach(self, name: str) -> None:
        del name


class KillingFailpoint:
    """Kills this process with SIGKILL. Raises ValueError for a name that is none."""

    def __init__(self, name: str) -> None:
        if name not in NAMES:
            raise ValueError(f"failpoint is one of {', '.join(NAMES)}, found {name!r}")
        self._name = name

    def reach(self, name: str) -> None:
        if name == self._name:
            os.kill(os.getpid(), signal.SIGKILL)
