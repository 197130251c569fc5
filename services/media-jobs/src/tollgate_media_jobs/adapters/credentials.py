"""Where providers' secrets are read from: the environment or a file, at each call, so that a new one counts at once."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from tollgate_media_jobs.domain.channels import Channel, CredentialRef

_MAX_FILE_BYTES: Final = 65536


class CredentialMissing(Exception):  # noqa: N818
    """No place that a channel names holds a usable secret; the message says which places."""


class Credentials:
    """The environment is handed in."""

    def __init__(self, environment: Mapping[str, str], source: random.Random) -> None:
        self._environment = environment
        self._random = source

    def choose(self, channel: Channel) -> SecretStr | None:
        """Returns one of the channel's usable secrets, or None when it names none. Raises CredentialMissing."""
        if not channel.credentials:
            return None
        found, missing = [], []
        for reference in channel.credentials:
            value = self._read(reference).strip()
            if value and value.isascii() and value.isprintable() and " " not in value:
                found.append(SecretStr(value))
            else:
                missing.append(f"{reference.source} {reference.name}")
        if not found:
            raise CredentialMissing(f"no usable secret in {', '.join(missing)}")
        return self._random.choice(found)

    def _read(self, reference: CredentialRef) -> str:
        if reference.source == "env":
            return self._environment.get(reference.name, "")
        try:
            with Path(reference.name).open("rb") as file:
                return file.read(_MAX_FILE_BYTES).partition(b"\n")[0].decode("utf-8", "replace")
        except OSError:
            return ""
