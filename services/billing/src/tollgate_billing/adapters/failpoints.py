"""Where tests end the process: `after_insert` or `after_insert:3` kills it at the third time that step is behind.

`after_insert:stop` has it stand still there the first time, as a machine does that is suspended, until it gets SIGCONT.
"""

import os
import signal
from typing import Final

OF_BATCHES: Final = (
    *("after_intent", "after_letters", "after_insert", "after_ledger", "after_redis", "before_commit"),
    "after_commit",
)
OF_NOTICES: Final = ("after_lease", "after_send")
OF_REBUILDS: Final = ("after_copies", "before_attach", "after_attach")
NAMES: Final = OF_BATCHES + OF_NOTICES + OF_REBUILDS


class Failpoint:
    """Sends this process SIGKILL or SIGSTOP. Empty does nothing. Raises ValueError for a name that is none."""

    def __init__(self, text: str) -> None:
        self._name, _, how = text.partition(":")
        if self._name and self._name not in NAMES:
            raise ValueError(f"failpoint is one of {', '.join(NAMES)}, found {self._name!r}")
        self._signal = signal.SIGSTOP if how == "stop" else signal.SIGKILL
        self._left = 1 if how in {"", "stop"} else int(how)

    def reached(self, name: str) -> None:
        """Says that a step is behind."""
        if name != self._name:
            return
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), self._signal)
