"""What moving money needs from outside: the ledger's operations and redemption codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Move:
    """Money of one organization that is moved once per key; `amount_pico` is above 0 unless it is a correction."""

    organization_id: str
    currency: str
    amount_pico: int
    key: str
    reason: str
    now_us: int


@dataclass(frozen=True, slots=True)
class BonusGrant:
    """Credit that is spent before paid money: by priority, smallest first, then by expiry. `expires_us` 0: never."""

    move: Move
    priority: int
    expires_us: int


@dataclass(frozen=True, slots=True)
class Moved:
    """What may be spent afterwards; `repeated`: the key was used before for the same, and nothing was moved now."""

    balance_pico: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class Bonus:
    """A grant and what is left of it, in pico-units; `expires_us` 0 is never."""

    key: str
    amount_pico: int
    remaining_pico: int
    priority: int
    expires_us: int
    created_us: int
    reason: str


@dataclass(frozen=True, slots=True)
class Accounts:
    """All accounts of an organization: (account, currency, balance), and its grants in the order of spending."""

    currency: str
    credit_line_pico: int
    balance_pico: int
    accounts: tuple[tuple[str, str, int], ...]
    bonuses: tuple[Bonus, ...]


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A transfer as it stands in the ledger."""

    id: int
    batch: str
    project_id: str
    model: str
    price_digest: str
    currency: str
    debit: str
    credit: str
    amount_pico: int
    events: int
    reason: str
    created_us: int
    rate_digest: str = ""


class Operations(Protocol):
    """Raises LedgerUnavailable; InvalidMove or KeyReused for what cannot be done."""

    async def grant_bonus(self, grant: BonusGrant) -> Moved:
        """Adds bonus credit."""
        ...

    async def refund(self, move: Move) -> Moved:
        """Gives paid money back, at most what the account `wallet` has."""
        ...

    async def correct(self, move: Move) -> Moved:
        """Adds to the wallet, or takes from it when the amount is negative; what is missing is owed."""
        ...

    async def transfer(self, move: Move, to_organization_id: str, to_currency: str) -> tuple[Moved, int]:
        """Moves paid money to another organization of the same currency; returns the other's balance too."""
        ...

    async def set_credit_line(self, move: Move) -> Moved:
        """Sets how far below zero an organization's money may go."""
        ...

    async def was_done(self, key: str) -> bool:
        """Tells whether something was done under this idempotency key."""
        ...

    async def expire(self, now_us: int) -> dict[str, int]:
        """Books out what is left of grants whose time is up; returns the balances of the organizations concerned."""
        ...

    async def accounts(self, organization_id: str) -> Accounts:
        """Returns an organization's accounts."""
        ...

    async def transfers(self, organization_id: str, limit: int, before_id: int) -> list[TransferRow]:
        """Returns transfers, newest first, older than `before_id` unless that is 0."""
        ...


@dataclass(frozen=True, slots=True)
class NewCode:
    """A redemption code as it is kept: its SHA-256 in hex, never itself."""

    code_hash: str
    code_id: str


@dataclass(frozen=True, slots=True)
class CodeTerms:
    """What each code of a lot is worth. Zeros are for ever."""

    label: str
    currency: str
    amount_pico: int
    priority: int
    valid_days: int
    expires_us: int


@dataclass(frozen=True, slots=True)
class Code:
    """A code's record; zeros are never."""

    id: str
    terms: CodeTerms
    created_us: int
    revoked_us: int
    redeemed_us: int
    redeemed_by: str


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a code brought; `repeated`: this organization had it before."""

    amount_pico: int
    balance_pico: int
    expires_us: int
    repeated: bool


class Codes(Protocol):
    """Raises LedgerUnavailable."""

    async def add(self, codes: Sequence[NewCode], terms: CodeTerms, now_us: int) -> None:
        """Keeps new codes. Raises InvalidMove."""
        ...

    async def redeem(self, code_hash: str, organization_id: str, currency: str, now_us: int) -> Redeemed:
        """Credits an unused code to an organization, once, whoever else tries.

        Raises InvalidMove for a code that cannot be redeemed, and TooManyGuesses after too many of those.
        """
        ...

    async def revoke(self, code_id: str, now_us: int) -> Code:
        """Withdraws a code that nobody redeemed. Raises NotFound or InvalidMove."""
        ...

    async def codes(self, limit: int, after_id: str) -> list[Code]:
        """Returns codes by id, newest first."""
        ...
