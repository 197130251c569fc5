"""What requests are admitted within: limits of their key, their project and their organization."""

import re
from dataclasses import dataclass, field
from typing import Final

# Beyond this a sum of tokens might not be exact in a script.
MAX_LIMIT: Final = 10**12
MAX_BUDGET_PICO: Final = 2**63 - 1
# Of a budget, as a script names them.
BUDGET_WINDOWS: Final = {"day": "d", "month": "m", "total": "a"}
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Scope:
    """One key, project or organization. `requests` and `tokens` are a minute's, `slots` are at once; 0 is no limit.

    `budget_pico` is what may be spent in `budget_window`, in pico-units; days and months are those of UTC.
    """

    kind: str
    id: str
    requests: int = 0
    tokens: int = 0
    slots: int = 0
    budget_pico: int = 0
    budget_window: str = "month"

    def __post_init__(self) -> None:
        for value in (self.requests, self.tokens, self.slots):
            if not 0 <= value <= MAX_LIMIT:
                raise ValueError(f"a limit is a whole number from 0 to {MAX_LIMIT}, found {value}")
        if not 0 <= self.budget_pico <= MAX_BUDGET_PICO:
            raise ValueError(f"a budget is from 0 to {MAX_BUDGET_PICO} pico-units, found {self.budget_pico}")
        if self.budget_window not in BUDGET_WINDOWS:
            raise ValueError(f"the window of a budget is one of {', '.join(BUDGET_WINDOWS)}, not {self.budget_window}")
        if not _NAME.fullmatch(self.kind) or not _NAME.fullmatch(self.id):
            raise ValueError(f"a scope cannot be named {self.kind}:{self.id}")


@dataclass(frozen=True, slots=True)
class LimitSet:
    """The scopes of one organization that a request counts in, and how they are said to the script."""

    organization: str
    scopes: tuple[Scope, ...]
    keys: tuple[bytes, ...] = field(init=False)
    arguments: tuple[int | str, ...] = field(init=False)
    counts_tokens: bool = field(init=False)

    def __post_init__(self) -> None:
        tag = b"{" + self.organization.encode() + b"}:"
        names = [f"{scope.kind}:{scope.id}".encode() for scope in self.scopes]
        keys = tuple(tag + kind + name for name in names for kind in (b"window:", b"slots:", b"budget:"))
        arguments: list[int | str] = [len(self.scopes)]
        for scope in self.scopes:
            window = BUDGET_WINDOWS[scope.budget_window]
            arguments += (scope.requests, scope.tokens, scope.slots, scope.budget_pico, window)
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "arguments", tuple(arguments))
        object.__setattr__(self, "counts_tokens", any(scope.tokens for scope in self.scopes))
