"""A payment provider for trying things out: it has a checkout address and takes no money.

Whoever stands in for it sends the messages of a real one, signed with the shared secret.
"""


class SimulatedPayments:
    """`checkout_url` is where payers are sent, without the payment's id."""

    def __init__(self, checkout_url: str) -> None:
        self._checkout_url = checkout_url.rstrip("/")

    async def checkout(self, payment_id: str, amount_pico: int, currency: str) -> str:  # noqa: ARG002 - a real one asks.
        return f"{self._checkout_url}/{payment_id}"
