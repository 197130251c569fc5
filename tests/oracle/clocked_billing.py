"""Billing as it is, but for its clock: the file that ORACLE_CLOCK names says by how many microseconds it is slow."""

import asyncio
import os
import time
from pathlib import Path

from tollgate_billing.app import Billing
from tollgate_billing.settings import BillingSettings
from tollgate_kit.clock import SystemClock
from tollgate_kit.logs import configure_logging
from tollgate_kit.settings import load_settings


class SlowClock(SystemClock):
    """The system's, as many microseconds ago as a file says at the moment."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now_us(self) -> int:
        return time.time_ns() // 1000 - int(self._file.read_text())


if __name__ == "__main__":
    settings = load_settings(BillingSettings)
    configure_logging("billing", settings.log_level, settings.log_format)
    asyncio.run(Billing(settings, os.environ, SlowClock(Path(os.environ["ORACLE_CLOCK"]))).serve())
