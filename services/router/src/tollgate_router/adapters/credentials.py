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
        value = self._text(credential).partition("\n")[0].strip() if credential.file else self._text(credential)
        place = credential.place
        if not value.isascii() or not value.isprintable() or " " in value:
            raise CredentialMissing(f"{place} holds characters that no header may carry")
        return Secret(value)

    def document(self, credential: Credential) -> Secret:
        """Returns a secret of several lines, such as a key file. Raises CredentialMissing."""
        return Secret(self._text(credential))

    def _text(self, credential: Credential) -> str:
        if credential.env is not None:
            text = self._environment.get(credential.env, "")
        else:
            text = _contents(credential.file or "")
        if not text.strip():
            raise CredentialMissing(f"{credential.place} is empty or not there")
        return text.strip()


def _contents(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
