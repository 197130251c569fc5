"""What the kernel knows of a connection."""

import socket
import struct
from typing import Final

_BYTES_ACKED: Final = 120
_SIZE: Final = 192


def acknowledged_bytes(link: socket.socket | None) -> int | None:
    """Returns how many bytes the peer's kernel has acknowledged; None where ours does not tell."""
    option = getattr(socket, "TCP_INFO", None)
    if link is None or option is None:
        return None
    try:
        info = link.getsockopt(socket.IPPROTO_TCP, option, _SIZE)
    except OSError:
        return None
    if len(info) < _BYTES_ACKED + 8:
        return None
    acknowledged: int = struct.unpack_from("=Q", info, _BYTES_ACKED)[0]
    return acknowledged
