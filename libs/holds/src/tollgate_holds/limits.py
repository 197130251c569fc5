"""What requests are admitted within: limits of their key, their project and their organization."""

from dataclasses import dataclass, field
from typing import Final

# Beyond this a sum of tokens might not be exact in a script.
MAX_LIMIT: Final = 10**12


@dataclass(frozen=True, slots=True)
class Scope:
    """One key, project or organization. `requests` and `tokens` are a minute's, `slots` are at once; 0 is no limit."""

    kind: str
    id: str
    requests: int = 0
    tokens: int = 0
    slots: int = 0

    def __post_init__(self) -> None:
        for value in (self.requests, self.tokens, self.slots):
            if not 0 <= value <= MAX_LIMIT:
                raise ValueError(f"a limit is a whole number from 0 to {MAX_LIMIT}, found {value}")


@dataclass(frozen=True, slots=True)
class LimitSet:
    """The scopes of one organization that a request counts in, and how they are said to the script."""

    organization: str
    scopes: tuple[Scope, ...]
    keys: tuple[bytes, ...] = field(init=False)
    arguments: tuple[int, ...] = field(init=False)
    counts_tokens: bool = field(init=False)

    def __post_init__(self) -> None:
        tag = b"{" + self.organization.encode() + b"}:"
        names = [f"{scope.kind}:{scope.id}".encode() for scope in self.scopes]
        keys = tuple(tag + kind + name for name in names for kind in (b"window:", b"slots:"))
        arguments = [len(self.scopes)]
        for scope in self.scopes:
            arguments += (scope.requests, scope.tokens, scope.slots)
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "arguments", tuple(arguments))
        object.__setattr__(self, "counts_tokens", any(scope.tokens for scope in self.scopes))
