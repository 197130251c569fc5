"""Where upstream secrets are read from: the environment or a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tollgate_resources import Credential
from tollgate_router.domain.secret import Secret
from tollgate_router.domain.snapshot import CredentialMissing

_MAX_FILE_BYTES: Final = 65536


class EnvironmentCredentials:
    """Reads a secret anew whenever a configuration version is compiled; the environment is handed in."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def resolve(self, credential: Credential) -> Secret:
        """Returns the secret. Raises CredentialMissing, which names the place and never what was found there."""
        if credential.env is not None:
            place, text = f"environment variable {credential.env}", self._environment.get(credential.env, "")
        elif credential.file is not None:
            place, text = f"file {credential.file}", _first_line(credential.file)
        else:
            raise CredentialMissing(f"secret {credential.secret}: this router stores no secrets, name env or file")
        value = text.strip()
        if not value:
            raise CredentialMissing(f"{place} is empty or not there")
        if not value.isascii() or not value.isprintable() or " " in value:
            raise CredentialMissing(f"{place} holds characters that no header may carry")
        return Secret(value)


def _first_line(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_FILE_BYTES).partition(b"\n")[0].decode("utf-8", "replace")
    except OSError:
        return ""
