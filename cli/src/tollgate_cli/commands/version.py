"""`tollgate version`."""

import platform
from importlib.metadata import version

from tollgate_cli.output import print_json


def run_version(*, as_json: bool) -> None:
    """Shows the version of this installation."""
    found = version("tollgate-cli")
    if as_json:
        print_json({"version": found, "python": platform.python_version(), "platform": platform.platform()})
    else:
        print(f"tollgate {found} (Python {platform.python_version()})")
