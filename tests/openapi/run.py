"""One run of schemathesis: requests drawn from the description that the product publishes, asked with one key."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.integration import sdk_packages

FOLDER: Final = Path(__file__).parent
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)


def program() -> tuple[Path, str]:
    """Returns the path of schemathesis, and why it is not there, or nothing."""
    python, problem = sdk_packages.installed(FOLDER)
    return python.parent / "schemathesis", problem


def check(url: str, key: str, directory: Path, options: Sequence[str], description: str = "") -> str:
    """Returns what schemathesis printed where it found something, or nothing.

    `options` bound what it does; `directory` takes what it writes. `description`: by default what is published.
    """
    binary, _ = program()
    done = subprocess.run(
        [
            *(str(binary), "run", description or f"{url}/api/openapi.json"),
            *("--header", f"Authorization: Bearer {key}"),
            *("--url", url, "--checks", ",".join(CHECKS), "--generation-database", "none", "--continue-on-failure"),
            # What is slow on a loaded machine is no fault, and warnings are of what random ids cannot reach.
            *("--suppress-health-check", "all", "--warnings", "off", "--no-color", *options),
        ],
        cwd=directory,
        env=sdk_packages.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode else ""
