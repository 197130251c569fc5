"""Where a crash test ends the process, by setting."""

import os
import signal


class NoFailpoints:
    def reach(self, name: str) -> None:
        del name


class KillingFailpoint:
    def __init__(self, name: str) -> None:
        self._name = name

    def reach(self, name: str) -> None:
        if name == self._name:
            os.kill(os.getpid(), signal.SIGKILL)
