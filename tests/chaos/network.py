"""The network between edge and a router: cut, or stalled, while the product runs, and then as it was."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.integration.between import Between

CUT: Final = "cut"
STALL: Final = "stall"
# What is away answers nothing: the network fails all the same.
_PATIENCE_SECONDS: Final = 10.0


async def disturb(router: Path, kind: str, *, pieces: int, seconds: float, patience: float = _PATIENCE_SECONDS) -> None:
    """Cuts or stalls the way to a router's socket for `seconds`, when so many `pieces` have passed on it.

    Streams that are open do not take it: it waits, for `patience` seconds at most, until edge has renewed one.
    """
    # One that was killed a moment ago is about to listen anew.
    await _until(lambda: _listens(router), patience)
    behind, own = (router.with_name(f"{name}-{router.name}") for name in ("behind", "between"))
    way = Between(str(own), str(behind))
    async with way.open():
        if not _put_between(own, router, behind):
            return
        try:
            await _until(lambda: way.connections > 0 and way.pieces >= pieces, patience)
            if kind == CUT:
                way.go_away()
            else:
                way.fall_silent()
            await asyncio.sleep(seconds)
            way.go_on()
            await _until(lambda: way.connections > 0, patience)
        finally:
            _put_back(own, router, behind)


def _put_between(own: Path, router: Path, behind: Path) -> bool:
    """Whoever connects to the router gets to `own` from now on; False where no router is."""
    try:
        router.rename(behind)
    except FileNotFoundError:
        own.unlink()
        return False
    router.hardlink_to(own)
    return True


def _put_back(own: Path, router: Path, behind: Path) -> None:
    """Gives the router's socket its path again, unless a router that was started meanwhile listens there."""
    if router.exists() and not router.samefile(own):
        behind.unlink()
    else:
        behind.replace(router)
    own.unlink()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as one, contextlib.suppress(OSError):
        one.connect(str(path))
        return True
    return False


async def _until(there: Callable[[], bool], seconds: float) -> None:
    async def look() -> None:
        # Processes outside know of no event.
        while not there():  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(look(), seconds)
