"""What top-ups need from outside: a provider that takes the money, and the book of payments."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TopUp:
    """A payment that was begun; `state` is open, paid, failed or refunded."""

    id: str
    organization_id: str
    currency: str
    amount_pico: int
    state: str
    checkout_url: str
    created_us: int
    changed_us: int


class PaymentProvider(Protocol):
    """Raises PaymentsUnavailable."""

    async def checkout(self, payment_id: str, amount_pico: int, currency: str) -> str:
        """Returns the address at which the payer goes on; the same for the same payment."""
        ...


class Payments(Protocol):
    """Raises LedgerUnavailable."""

    async def begin(self, top_up: TopUp, key: str) -> TopUp:
        """Keeps a new payment, or returns the earlier one of this key. Raises KeyReused."""
        ...

    async def record(
        self, webhook_id: str, payment_id: str, state: str, amount_pico: int, currency: str, now_us: int
    ) -> tuple[str, str, int]:
        """Moves a payment on, once per message; returns what was done ("" for nothing), the organization, its balance.

        Raises NotFound, or InvalidMove when amount or currency is not what was begun.
        """
        ...

    async def list(self, organization_id: str, limit: int, after_id: str) -> list[TopUp]:
        """Returns payments by id, newest first."""
        ...
