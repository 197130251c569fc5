"""What a request turns to that a wallet or a budget cannot bear: a cheaper model, or all that the wallet has left."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from tollgate_holds import HoldResult

if TYPE_CHECKING:
    from tollgate_edge.inference.exchange import InferenceExchange
    from tollgate_edge.inference.gateway import InferenceGateway

_TOO_DEAR: Final = (HoldResult.INSUFFICIENT, HoldResult.OVER_BUDGET)


def asks_for_less(gateway: "InferenceGateway", exchange: "InferenceExchange", result: HoldResult | None) -> bool:
    """Asks for a smaller hold in place of the one that was refused; False where there is none to ask for."""
    if result not in _TOO_DEAR:
        return False
    return _asks_cheaper(gateway, exchange) or (
        result is HoldResult.INSUFFICIENT and _asks_for_what_is_left(gateway, exchange)
    )


def _asks_cheaper(gateway: "InferenceGateway", exchange: "InferenceExchange") -> bool:
    """Turns to the next model that the route names for a balance that is too low; False when there is none."""
    principal = exchange.principal
    assert principal is not None
    while (asked := exchange.asked) is not None:
        exchange.too_dear = (*exchange.too_dear, asked.model)
        model = gateway.cheaper_than(exchange, exchange.too_dear)
        if model is None:
            break
        exchange.requested_model = exchange.requested_model or asked.model
        exchange.asked = msgspec.structs.replace(asked, model=model)
        amount = gateway.worst_case(exchange)
        if isinstance(amount, int):
            exchange.admit(principal, amount)
            return True
    return False


def _asks_for_what_is_left(gateway: "InferenceGateway", exchange: "InferenceExchange") -> bool:
    """Asks, once, for all that a wallet has left, where that covers the least and not the worst case; else False."""
    least_tokens, principal = gateway.settings.trimmed_hold_tokens, exchange.principal
    assert principal is not None
    if not least_tokens or exchange.trimmed:
        return False
    exchange.trimmed = True

    async def ask() -> None:
        left = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(exchange.admission_deadline):
                left = await gateway.admission.left(principal.organization_id)
        least = gateway.worst_case(exchange, least_tokens)
        if exchange.closed:
            return
        if isinstance(least, int) and left is not None and least <= left < exchange.hold_pico:
            exchange.admit(principal, left)
        else:
            exchange.refuse(gateway.words.admission(HoldResult.INSUFFICIENT, exchange.ticket, gateway.clock.now_us()))

    gateway.do_slowly(exchange, ask)
    return True
