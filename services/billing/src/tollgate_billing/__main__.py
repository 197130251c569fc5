"""Runs billing: `python -m tollgate_billing`."""

import uvloop

from tollgate_billing.app import run
from tollgate_billing.settings import BillingSettings
from tollgate_kit.logs import configure_logging
from tollgate_kit.settings import load_settings


def main() -> None:
    """Reads the settings and serves until told to stop."""
    settings = load_settings(BillingSettings)
    configure_logging("billing", settings.log_level, settings.log_format)
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
