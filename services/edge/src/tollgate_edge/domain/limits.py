"""Limits that operators set on keys, projects and organizations."""

from dataclasses import dataclass, fields
from typing import Final

from tollgate_holds import LimitSet, Scope


@dataclass(frozen=True, slots=True)
class Limits:
    """What one key, project or organization may use; 0 is no limit. `concurrency` counts open requests."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0

    def scope(self, kind: str, owner: str) -> Scope | None:
        """Returns the scope in which they are counted; None when there is nothing to count."""
        if self == NO_LIMITS:
            return None
        return Scope(kind, owner, self.requests_per_minute, self.tokens_per_minute, self.concurrency)


NO_LIMITS: Final = Limits()
LIMIT_NAMES: Final = tuple(one.name for one in fields(Limits))
KEY: Final = "key"
PROJECT: Final = "project"
ORGANIZATION: Final = "organization"


def limit_set(organization: str, *scopes: Scope | None) -> LimitSet | None:
    """Returns what a request of this organization is admitted within; None when no scope limits anything."""
    found = tuple(scope for scope in scopes if scope is not None)
    return LimitSet(organization, found) if found else None
