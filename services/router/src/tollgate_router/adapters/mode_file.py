"""What operators have said about channels, kept on this router's disk so that a restart does not undo it."""

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tollgate_kit.config_client import write_atomically
from tollgate_router.domain.health.states import Mode

log = logging.getLogger(__name__)

_FILE: Final = "channel-modes.json"


class ModeFile:
    """One JSON object: channel → [mode, reason]. A file that cannot be read counts as none, and is said in the log."""

    def __init__(self, state_directory: Path) -> None:
        self._path = state_directory / _FILE

    def load(self) -> dict[str, tuple[Mode, str]]:
        """Returns what was saved last."""
        try:
            found = json.loads(self._path.read_bytes())
            return {str(name): (Mode(mode), str(reason)) for name, (mode, reason) in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("the modes of channels cannot be read", extra={"fields": {"error": str(error)}})
            return {}

    async def save(self, modes: Mapping[str, tuple[Mode, str]]) -> None:
        """Replaces the file. Raises OSError."""
        data = json.dumps({name: [mode.value, reason] for name, (mode, reason) in modes.items()}).encode()
        await asyncio.to_thread(write_atomically, self._path, data)
