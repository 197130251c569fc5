"""What /readyz of edge says: what keeps this process from serving, and what one should know of it meanwhile."""

import platform
from typing import Final

from tollgate.billing.v1.controls_pb2 import Spool as Spooled
from tollgate_edge.inference.alone import Alone
from tollgate_edge.settings import EdgeSettings
from tollgate_edge.use_cases.authenticate import KeyAuthenticator
from tollgate_holds.holds import Holds
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool

# Many polls: none of them came through.
_UNCHECKED_SECONDS: Final = 5.0
_NO_ROOM: Final = "the spool is full, or its disk cannot be written; new requests are refused"


class Readiness:
    """One per process. Each method returns None, or empty, where there is nothing to say."""

    def __init__(
        self,
        settings: EdgeSettings,
        *,
        authenticator: KeyAuthenticator,
        holds: Holds,
        alone: Alone | None,
        spool: Spool,
        publisher: Publisher,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._holds = holds
        self._alone = alone
        self._spool = spool
        self._publisher = publisher
        self.seeded = False

    # What keeps it from serving.

    def not_seeded(self) -> str | None:
        """The first keys are not there yet."""
        return None if self.seeded else "the first keys and credit are being made; this waits for SQL and billing"

    def no_redis(self) -> str | None:
        """Nothing can be held."""
        if self._holds.ready or self._alone is not None:
            return None
        return f"{self._holds.away}: requests that need a wallet or have limits are refused"

    def no_room(self) -> str | None:
        """What this process would witness could not be kept."""
        return None if self._spool.has_room() else _NO_ROOM

    def keys_cannot_be_checked(self) -> str | None:
        """What is remembered of keys is too old to be used."""
        unchecked, most = self._authenticator.unchecked_seconds, self._settings.key_unchecked_seconds
        if unchecked <= most:
            return None
        return (
            f"the database has not said for {unchecked:.0f} s what has changed, more than {most:g} s: each key is "
            "looked up anew, and refused where that fails"
        )

    # What one should know.

    def keys_are_unchecked(self) -> str | None:
        """Changes elsewhere are not seen here."""
        unchecked, most = self._authenticator.unchecked_seconds, self._settings.key_unchecked_seconds
        if not _UNCHECKED_SECONDS < unchecked <= most:
            return None
        return (
            f"the database has not said for {unchecked:.0f} s what has changed: keys that were revoked since still "
            f"work here; after {most:g} s each key is looked up anew"
        )

    def without_redis(self) -> str | None:
        """What happens while Redis is away, or would."""
        if self._alone is None:
            said = "should Redis go away, requests that need a wallet or have limits are refused"
            return said if self._holds.ready else None
        when = "should Redis go away" if self._holds.ready else self._holds.away
        cap = self._settings.unverified_spend_cap
        return (
            f"{when}: prepaid organizations are refused; others go on within limits that each process counts by "
            f"itself, up to {cap} of their currency unverified"
        )

    def spool_problem(self) -> str:
        """Why what is in the spool stays there, or nothing more comes into it."""
        return self._publisher.problem or self.no_room() or ""

    def own_spool(self) -> Spooled:
        """What billing is told of this process's spool."""
        return Spooled(
            process=f"edge {self._settings.slot} at {platform.node()}",
            records=self._spool.records,
            size_bytes=self._spool.bytes,
            limit_bytes=self._settings.spool_max_bytes,
            problem=self.spool_problem(),
        )
