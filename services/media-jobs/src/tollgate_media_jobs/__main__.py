"""Runs media-jobs: `python -m tollgate_media_jobs`."""

import asyncio

from tollgate_kit.logs import configure_logging
from tollgate_kit.settings import load_settings
from tollgate_media_jobs.app import run
from tollgate_media_jobs.settings import MediaJobsSettings


def main() -> None:
    """Reads the settings and serves until told to stop."""
    settings = load_settings(MediaJobsSettings)
    configure_logging("media-jobs", settings.log_level, settings.log_format)
    asyncio.run(run(settings))


if __name__ == "__main__":
    main()
