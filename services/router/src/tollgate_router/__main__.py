"""Runs the router: `python -m tollgate_router`."""

import uvloop

from tollgate_kit.logs import configure_logging
from tollgate_kit.settings import load_settings
from tollgate_router.app import run
from tollgate_router.settings import RouterSettings


def main() -> None:
    """Reads the settings and serves until told to stop."""
    settings = load_settings(RouterSettings)
    configure_logging("router", settings.log_level, settings.log_format)
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
