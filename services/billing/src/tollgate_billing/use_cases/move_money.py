"""Money that moves without a request: grants, refunds, corrections, transfers, credit lines, codes and expiry.

The ledger moves first and the wallet in Redis follows under the lock that batches are booked under. Money that leaves
is reserved in the wallet before, as a request would reserve it, so that nobody spends it meanwhile.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tollgate_billing.errors import BillingError, InvalidMove
from tollgate_billing.ledger_ports import (
    Accounts,
    BonusGrant,
    Code,
    Codes,
    CodeTerms,
    Move,
    Moved,
    NewCode,
    Operations,
    Redeemed,
    TransferRow,
)
from tollgate_billing.ports import Effect, Wallets
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_kit.ids import Ids, encode_base32
from tollgate_rating import format_decimal

# 100 bits: nobody guesses one, so that a plain hash is enough.
_CODE_BYTES: Final = 13
_CODE_LENGTH: Final = 20
_GROUP: Final = 5
_PREFIX: Final = "TG"
_MAX_CODES: Final = 1_000
_READ_AS: Final = str.maketrans("iol", "101")


class MoveMoney:
    """`random_bytes` gives secrets."""

    def __init__(
        self,
        *,
        operations: Operations,
        codes: Codes,
        wallets: Wallets,
        keep: KeepWallets,
        ids: Ids,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._operations = operations
        self._codes = codes
        self._wallets = wallets
        self._keep = keep
        self._ids = ids
        self._random_bytes = random_bytes

    async def grant_bonus(self, grant: BonusGrant) -> Moved:
        """Adds bonus credit. Raises InvalidMove, KeyReused or Unavailable."""
        return await self._follow(grant.move.organization_id, lambda: self._operations.grant_bonus(grant))

    async def correct(self, move: Move) -> Moved:
        """Puts a mistake right, either way. Raises InvalidMove, KeyReused or Unavailable."""
        return await self._follow(move.organization_id, lambda: self._operations.correct(move))

    async def set_credit_line(self, move: Move) -> Moved:
        """Sets how far below zero the money may go. Raises InvalidMove or Unavailable."""
        return await self._follow(move.organization_id, lambda: self._operations.set_credit_line(move))

    async def refund(self, move: Move) -> Moved:
        """Gives paid money back that nothing holds. Raises InvalidMove, KeyReused or Unavailable."""

        async def work() -> tuple[Moved, dict[str, int]]:
            moved = await self._reserved(move, lambda: self._operations.refund(move))
            return moved, {move.organization_id: moved.balance_pico}

        return await self._keep.change(work)

    async def transfer(self, move: Move, to_organization_id: str, to_currency: str) -> Moved:
        """Moves paid money that nothing holds. Raises InvalidMove, KeyReused or Unavailable."""

        async def work() -> tuple[Moved, dict[str, int]]:
            others: list[int] = []

            async def both() -> Moved:
                moved, other = await self._operations.transfer(move, to_organization_id, to_currency)
                others.append(other)
                return moved

            moved = await self._reserved(move, both)
            return moved, {move.organization_id: moved.balance_pico, to_organization_id: others[0]}

        return await self._keep.change(work)

    async def expire(self, now_us: int) -> int:
        """Books out grants whose time is up; returns how many organizations had one. Raises Unavailable."""

        async def work() -> tuple[int, dict[str, int]]:
            balances = await self._operations.expire(now_us)
            return len(balances), balances

        return await self._keep.change(work)

    async def create_codes(self, count: int, terms: CodeTerms, now_us: int) -> list[tuple[str, Code]]:
        """Makes codes; returns each with its record, and never again. Raises InvalidMove or Unavailable."""
        if not 0 < count <= _MAX_CODES:
            raise InvalidMove(f"1 to {_MAX_CODES} codes are made at once")
        texts = [_new_code(self._random_bytes(_CODE_BYTES)) for _ in range(count)]
        made = [NewCode(hash_code(text), self._ids.new("code")) for text in texts]
        await self._codes.add(made, terms, now_us)
        return [(text, Code(new.code_id, terms, now_us, 0, 0, "")) for text, new in zip(texts, made, strict=True)]

    async def redeem(self, code: str, organization_id: str, currency: str, now_us: int) -> Redeemed:
        """Credits a code's worth. Raises InvalidMove, TooManyGuesses or Unavailable."""

        async def work() -> tuple[Redeemed, dict[str, int]]:
            found = await self._codes.redeem(hash_code(code), organization_id, currency, now_us)
            return found, {organization_id: found.balance_pico}

        return await self._keep.change(work)

    async def revoke_code(self, code_id: str, now_us: int) -> Code:
        """Withdraws a code. Raises NotFound, InvalidMove or Unavailable."""
        return await self._codes.revoke(code_id, now_us)

    async def codes(self, limit: int, after_id: str) -> Sequence[Code]:
        """Returns codes, newest first. Raises Unavailable."""
        return await self._codes.codes(limit, after_id)

    async def accounts(self, organization_id: str) -> Accounts:
        """Returns an organization's accounts. Raises Unavailable."""
        return await self._operations.accounts(organization_id)

    async def transfers(self, organization_id: str, limit: int, before_id: int) -> Sequence[TransferRow]:
        """Returns transfers, newest first. Raises Unavailable."""
        return await self._operations.transfers(organization_id, limit, before_id)

    async def _follow(self, organization_id: str, operation: Callable[[], Awaitable[Moved]]) -> Moved:
        async def work() -> tuple[Moved, dict[str, int]]:
            moved = await operation()
            return moved, {organization_id: moved.balance_pico}

        return await self._keep.change(work)

    async def _reserved(self, move: Move, operation: Callable[[], Awaitable[Moved]]) -> Moved:
        organization, hold_id = move.organization_id, f"move/{move.key}"
        if (await self._wallets.state(organization)).wallet is None:
            balance = (await self._operations.accounts(organization)).balance_pico
            await self._wallets.rebuild(organization, balance)
        reserved = move.amount_pico > 0 and await self._wallets.reserve(organization, hold_id, move.amount_pico)
        # What was done before needs no free money: it moves nothing.
        if not reserved and not await self._operations.was_done(move.key):
            state = await self._wallets.state(organization)
            free = format_decimal(max(state.wallet or 0, 0))
            raise InvalidMove(f"{free} is free; {format_decimal(state.held)} is held by requests that are under way")
        try:
            moved = await operation()
        except BillingError:
            if reserved:
                await self._wallets.release(organization, hold_id)
            raise
        if reserved and moved.repeated:
            await self._wallets.release(organization, hold_id)
        elif reserved:
            effect = Effect(organization, ((hold_id, move.amount_pico),), 0)
            await self._wallets.book(effect, "operations", move.key)
        return moved


def hash_code(code: str) -> str:
    """Returns what is kept of a code: case, hyphens and blanks make no difference, nor O for 0 and I or L for 1."""
    plain = "".join(character for character in code.lower() if character.isalnum())
    plain = plain.removeprefix(_PREFIX.lower()).translate(_READ_AS)
    return hashlib.sha256(plain.encode()).hexdigest()


def _new_code(secret: bytes) -> str:
    text = encode_base32(int.from_bytes(secret, "big"), _CODE_LENGTH).upper()
    return "-".join([_PREFIX, *(text[at : at + _GROUP] for at in range(0, _CODE_LENGTH, _GROUP))])
