"""Keeps what budgets refuse or turn to another model as billing publishes it."""

import logging
from collections.abc import Iterable
from typing import Protocol

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate_edge.errors import PublicError
from tollgate_edge.ledger_ports import ControlPort

log = logging.getLogger(__name__)


class Table(Protocol):
    version: str

    def replace(self, version: str, controls: Iterable[wire.Control]) -> None:
        """Takes a new table in."""
        ...


class FollowControls:
    def __init__(self, billing: ControlPort, table: Table) -> None:
        self._billing = billing
        self._table = table
        self._away = False

    async def __call__(self) -> None:
        """Asks once. While billing is away the last table goes on, and that is said once."""
        try:
            found = await self._billing.controls(wire.GetControlsRequest(version=self._table.version))
        except PublicError as error:
            if not self._away:
                log.warning("budgets hold as they last did", extra={"fields": {"error": str(error)}})
            self._away = True
            return
        self._away = False
        if found.changed:
            self._table.replace(found.version, found.controls)
