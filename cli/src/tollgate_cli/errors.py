"""How a command fails: a sentence, an exit code, and what scripts get."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

REFUSED = 1
USAGE = 2
UNREACHABLE = 3


class Failure(Exception):  # noqa: N818
    """The command ends with `code`: 1 refused or failed, 2 wrong usage, 3 not reachable. `advice` says what to do."""

    def __init__(self, message: str, *, code: int = REFUSED, advice: str = "", details: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.advice = advice
        self.details = details


def unreadable(file: object, error: Exception) -> Failure:
    """Returns the failure of a command whose file is not there, or holds something else than it should."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return Failure(f"{file} cannot be read: {reason}.", code=USAGE)


def check_there(files: Iterable[Path]) -> None:
    """Raises Failure for a file or directory that is not there."""
    for file in files:
        if not file.exists():
            raise unreadable(file, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
