"""Secrets in files that only their owner may read."""

import json
from collections.abc import Callable
from pathlib import Path

from tollgate_edge.domain.keys import Pepper, Secret, pepper_of
from tollgate_edge.use_cases.bootstrap import FirstKeys
from tollgate_kit.config_client import write_atomically
from tollgate_kit.secret_files import read_secrets


class JsonKeysFile:
    """`{"api_key": …, "admin_key": …}`, mode 0600; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> FirstKeys | None:
        """Returns what an earlier start left. Raises OSError, ValueError."""
        if self._path is None or not self._path.exists():
            return None
        found = json.loads(self._path.read_bytes())
        if not isinstance(found, dict) or not isinstance(found.get("admin_key"), str):
            raise ValueError(f"{self._path} holds no admin_key")  # noqa: TRY004 - the content is at fault.
        api_key = found.get("api_key")
        return FirstKeys(Secret(found["admin_key"]), Secret(api_key) if isinstance(api_key, str) else None)

    def write(self, keys: FirstKeys) -> None:
        """Leaves the keys. Raises OSError."""
        if self._path is not None:
            content = {
                "api_key": None if keys.api_key is None else keys.api_key.reveal(),
                "admin_key": keys.admin_key.reveal(),
            }
            write_atomically(self._path, json.dumps(content).encode())


def read_peppers(path: Path, random_bytes: Callable[[int], bytes]) -> tuple[Pepper, ...]:
    """Returns the peppers of a file, the current one first; makes the file when it is absent.

    Raises OSError, ValueError.
    """
    return tuple(pepper_of(secret) for secret in read_secrets(path, random_bytes))
