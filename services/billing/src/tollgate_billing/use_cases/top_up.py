"""Money that is paid in through a provider: begun here, credited when the provider says so and only then."""

from collections.abc import Sequence
from typing import Final

from tollgate_billing.domain.webhook import read_message, verify
from tollgate_billing.errors import BadMessage, BadSignature, InvalidMove, NotFound, Unsigned
from tollgate_billing.payment_ports import PaymentProvider, Payments, TopUp
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_kit.clock import Clock
from tollgate_kit.ids import Ids
from tollgate_rating import INT64_MAX

_MAX_KEY: Final = 256


class TopUps:
    """`provider` is None where none is set up: nothing can be paid in then."""

    def __init__(
        self,
        *,
        provider: PaymentProvider | None,
        secret: bytes,
        payments: Payments,
        keep: KeepWallets,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._provider = provider
        self._secret = secret
        self._payments = payments
        self._keep = keep
        self._clock = clock
        self._ids = ids

    async def begin(self, organization_id: str, currency: str, amount_pico: int, key: str) -> TopUp:
        """Returns a payment and where it goes on, the same one for the same key.

        Raises NotFound where nothing can be paid in, InvalidMove, KeyReused or Unavailable.
        """
        if self._provider is None:
            raise NotFound("no payment provider is set up here")
        if not 0 < amount_pico <= INT64_MAX or not 0 < len(key) <= _MAX_KEY or not organization_id:
            raise InvalidMove("a top-up has an organization, an amount above 0 and an idempotency key")
        now_us = self._clock.now_us()
        payment_id = self._ids.new("pay")
        url = await self._provider.checkout(payment_id, amount_pico, currency)
        top_up = TopUp(payment_id, organization_id, currency, amount_pico, "open", url, now_us, now_us)
        return await self._payments.begin(top_up, key)

    async def record(self, webhook_id: str, timestamp: str, signature: str, body: bytes) -> str:
        """Takes a provider's message; returns what it changed, or "". The same message counts once.

        Raises Unsigned, InvalidMove, NotFound or Unavailable.
        """
        if self._provider is None:
            raise NotFound("no payment provider is set up here")
        now_us = self._clock.now_us()
        try:
            verify(self._secret, webhook_id, timestamp, signature, body, now_us // 1_000_000)
            message = read_message(body)
        except BadSignature as error:
            raise Unsigned(str(error)) from error
        except BadMessage as error:
            raise InvalidMove(str(error)) from error
        if not message.state:
            return ""

        async def work() -> tuple[str, dict[str, int]]:
            done, organization, balance = await self._payments.record(
                webhook_id, message.payment_id, message.state, message.amount_pico, message.currency, now_us
            )
            return done, {organization: balance} if done else {}

        return await self._keep.change(work)

    async def list(self, organization_id: str, limit: int, after_id: str) -> Sequence[TopUp]:
        """Returns payments, newest first. Raises Unavailable."""
        return await self._payments.list(organization_id, limit, after_id)
