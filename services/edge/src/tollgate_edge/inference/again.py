"""A request's second try, on another router: whether there may be one, and what it holds."""

from typing import TYPE_CHECKING, Final

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.operations import OPERATIONS
from tollgate_holds import HoldResult, hold_id_of

if TYPE_CHECKING:
    from tollgate_edge.inference.exchange import InferenceExchange
    from tollgate_edge.inference.gateway import InferenceGateway


class _Stored(msgspec.Struct):
    store: bool | None = None


_STORED: Final = msgspec.json.Decoder(_Stored)


def may_repeat(operation: int, dialect: int, body: bytes | bytearray) -> bool:
    """Tells whether a request whose router was lost may be asked of another.

    Not what a provider may be paid for twice, nor a response that may be stored, as at OpenAI each is that does not say
    otherwise. Looked up then, since hardly any request is asked.
    """
    if OPERATIONS[operation].once:
        return False
    if dialect != wire.DIALECT_OPENAI_RESPONSES:
        return True
    try:
        return _STORED.decode(body).store is False
    except msgspec.DecodeError:
        return False


def hold_again(gateway: "InferenceGateway", exchange: "InferenceExchange") -> None:
    """Asks for the hold of a second try, which takes the place of the first one's; `admitted` is told as it was then.

    Whatever becomes known of the first try, of the witness or of its router, ends that one's hold and nothing else: the
    money and the budgets stay taken however long the second try lasts.
    """
    principal, ticket = exchange.principal, exchange.ticket
    assert principal is not None
    if ticket is not None and ticket.era:
        # It was let in without Redis, which holds nothing for it; this process goes on with what it holds itself.
        exchange.admitted(HoldResult.DONE)
        return
    first = exchange.hold_id
    exchange.hold_id = hold_id_of(exchange.request_id, exchange.tries + 1)
    exchange.admission_deadline = gateway.loop.time() + gateway.settings.admission_timeout_seconds
    try:
        exchange.admit(principal, exchange.amount_pico)
    except BaseException:
        # Nobody was asked for a second hold: it is the first one that is given back.
        exchange.hold_id = first
        raise
