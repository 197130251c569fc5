"""Runs edge: `python -m tollgate_edge`."""

import sys

import uvloop

from tollgate_edge.app import run
from tollgate_edge.settings import EdgeSettings
from tollgate_kit.logs import configure_logging
from tollgate_kit.settings import load_settings


def main() -> int:
    """Reads the settings and serves until told to stop."""
    settings = load_settings(EdgeSettings)
    configure_logging("edge", settings.log_level, settings.log_format)
    return uvloop.run(run(settings))


if __name__ == "__main__":
    sys.exit(main())
