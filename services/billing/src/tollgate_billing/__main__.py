"""Runs billing: `python -m tollgate_billing`."""

import gc
import sys

import uvloop

from tollgate_billing.app import run
from tollgate_billing.settings import BillingSettings
from tollgate_kit.logs import configure_logging
from tollgate_kit.settings import load_settings


def main() -> None:
    """Reads the settings and serves until told to stop."""
    settings = load_settings(BillingSettings)
    configure_logging("billing", settings.log_level, settings.log_format)
    # A batch has a hundred thousand objects, none of them in a cycle: at its usual pace the collector looks at all of
    # them again and again while a batch is made, which took a third of the time.
    gc.freeze()
    gc.set_threshold(200_000, 50, 1000)
    # Whoever waited for SQL or Redis gets the interpreter from the thread that prepares a batch after 0.5 ms, not 5.
    sys.setswitchinterval(0.0005)
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
