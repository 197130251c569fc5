"""Secrets that a process keeps in a file of its own, made when it is first needed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tollgate_kit.config_client import write_atomically

_KEY_BYTES: Final = 32


def read_secrets(path: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> tuple[bytes, ...]:  # noqa: TID251 - tests hand in theirs.
    """Returns the secrets of a file, one in hex per line; makes the file (mode 0600) with one when it is absent.

    Workers that start together end up with the same one. Raises OSError, and ValueError for a file without any.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        write_atomically(draft, random_bytes(_KEY_BYTES).hex().encode() + b"\n")
        try:
            # A link fails when another worker was faster.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    found = tuple(bytes.fromhex(line) for line in path.read_text().split())
    if not found:
        raise ValueError(f"{path} holds no secret")
    return found
