"""The ports that may be reached outside: of channels, results and notices. Addresses: tollgate_resources.egress."""

from typing import Final

DEFAULT_PORTS: Final = "80,443,3128,8080,8443"


class Ports:
    """The ports that may be reached: numbers and ranges, such as `443,8000-8999`, which `setting` lists."""

    def __init__(self, listed: str, setting: str) -> None:
        """Raises ValueError for what is no such list."""
        self._setting = setting
        self._ranges = [_range(part.strip()) for part in listed.split(",")]

    def refusal(self, port: int, *, private_network: bool) -> str | None:
        """Returns why `port` may not be reached, or None when it may; with `private_network` each may."""
        if private_network or any(port in one for one in self._ranges):
            return None
        return f"port {port} is not among those that {self._setting} lists; private_network would allow any"


def checked_ports(listed: str) -> str:
    """Returns a list of ports as it is. Raises ValueError for what is none."""
    Ports(listed, "")
    return listed


def _range(part: str) -> range:
    first, dash, last = part.partition("-")
    ends = (first, last if dash else first)
    if not all(end.isascii() and end.isdigit() and len(end) <= 5 for end in ends):
        raise ValueError(f"ports and ranges of ports, such as 443,8000-8999, not {part!r}")
    found = range(int(ends[0]), int(ends[1]) + 1)
    if not found or found[0] < 1 or found[-1] > 65535:
        raise ValueError(f"ports are 1 to 65535, the smaller one of a range first, not {part!r}")
    return found
