"""What the admin port of a process answers.

httpx leaves its socket open where nobody listens at a path, and whatever test runs when it is found fails for it: a
process that is started again is not there for a while.
"""

import http.client
import socket
from pathlib import Path


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("admin", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(self.timeout)
            made.connect(str(self._path))
        except OSError:
            made.close()
            raise
        self.sock = made


def ask_admin(path: str | Path, where: str, seconds: float = 30.0) -> tuple[int, str]:
    """Returns status and text of a GET at the Unix socket `path`. Raises OSError when nobody answers."""
    connection = _Connection(Path(path), seconds)
    try:
        connection.request("GET", where)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{path}: {error!r}") from error
    finally:
        connection.close()
