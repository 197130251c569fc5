"""Puts money into the wallet of an organization."""

from dataclasses import dataclass

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate_edge.ports import BillingPort, Organization
from tollgate_kit.ids import Ids


@dataclass(frozen=True, slots=True)
class GiveCredit:
    billing: BillingPort
    ids: Ids

    async def __call__(self, organization: Organization, amount_pico: int, reason: str, idempotency_key: str) -> int:
        """Returns the balance in pico-units. A key that was used before, unless empty, credits nothing again.

        Raises PublicError: billing is away, the amount is out of range, or the key was used for another credit.
        """
        key = f"credit:{organization.id}:{idempotency_key}" if idempotency_key else self.ids.new("credit")
        made = await self.billing.grant(
            billing.GrantRequest(
                organization_id=organization.id,
                currency=organization.currency,
                amount_pico=amount_pico,
                idempotency_key=key,
                reason=reason,
            )
        )
        return int(made.exact_pico or made.balance_pico)
