"""Edge as the witness: when a router vanishes, what was delivered is written down, marked as an estimate."""

import contextlib
from typing import TYPE_CHECKING, Any, Final, cast

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.domain.principal import tenant_message
from tollgate_edge.inference.asked import Asked
from tollgate_edge.ports import EdgeModel, EdgeVersion
from tollgate_kit.clock import Clock
from tollgate_kit.ids import event_id
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool
from tollgate_rating import REQUEST, AmountOutOfRange, NoRate, Unpriced, embedded_files, prompt_tokens

if TYPE_CHECKING:
    from tollgate_edge.inference.exchange import InferenceExchange

# Without its text parsed, bytes are the measure of a reply, too. Sixteen make a token, most of which is framing.
_REPLY_BYTES_PER_TOKEN: Final = 16
_STREAM_BYTES_PER_TOKEN: Final = 160
_TOKENS: Final = ("input", "output", "audio_input", "audio_output")


class Witness:
    """Writes witness events to a spool of edge's own; they go to the same topic as the routers'."""

    def __init__(self, spool: Spool, publisher: Publisher, clock: Clock) -> None:
        self._spool = spool
        self._publisher = publisher
        self._clock = clock
        for record in spool.recovered():
            found = events.UsageRecorded.FromString(record.payload)
            found.replay = True
            self._publisher.queue(record.sequence, found.request_id.encode(), found.SerializeToString())

    def has_room(self) -> bool:
        """Tells whether what becomes of one more request can be written down."""
        return self._spool.has_room()

    def flush(self) -> None:
        """Tries again to write what a full disk refused; nothing to do for one that takes everything."""
        self._spool.flush()

    def record(self, exchange: "InferenceExchange", delivered: int, version: EdgeVersion | None) -> None:
        """Appends the event of a try that ended without End; at charge 0 when nothing reached the client."""
        principal, asked = exchange.principal, exchange.asked
        assert principal is not None
        assert asked is not None
        # What delivered nothing was no request that a fee is due for.
        usage = wire.Usage(requests=1 if delivered else 0)
        if delivered and asked.likely:
            self._likely(usage, exchange, asked.likely, version)
        elif delivered:
            model = version.model(principal.route_group, asked.model) if version is not None else None
            usage.input_tokens = _input_tokens(exchange, model)
            if exchange.operation != wire.OPERATION_EMBEDDINGS:
                usage.output_tokens = _output_tokens(delivered, asked, model)
        event = events.UsageRecorded(
            event_id=event_id(exchange.request_id, exchange.tries, 0, events.EVENT_SOURCE_WITNESS),
            request_id=exchange.request_id,
            source=events.EVENT_SOURCE_WITNESS,
            final=True,
            status=events.EVENT_STATUS_WITNESS,
            estimated=True,
            started_at_us=exchange.started_us,
            # Whatever the clock was set to meanwhile: billing takes no event that ended long before its start.
            ended_at_us=max(self._clock.now_us(), exchange.started_us),
            model=asked.model,
            dialect=exchange.face.dialect,  # type: ignore[arg-type]  # A number for an enum.
            operation=exchange.operation,  # type: ignore[arg-type]  # A number for an enum.
            stream=asked.stream,
            outcome=wire.OUTCOME_ROUTER_LOST,
            error_kind="upstream_cut" if delivered else "unavailable",
            usage=usage,
            traceparent=f"00-{exchange.trace_id}-{exchange.span_id}-01",
            **cast("Any", {"try": exchange.tries}),
        )
        event.hold_pico = exchange.hold_pico
        event.client_network, event.prompt_hash = exchange.marks
        event.tenant.CopyFrom(tenant_message(principal))
        self._rate(event, version)
        payload = event.SerializeToString()
        sequence = self._spool.append(payload)
        self._spool.acknowledge(sequence)
        self._spool.flush()
        self._publisher.queue(sequence, exchange.request_id.encode(), payload)

    @staticmethod
    def _likely(
        usage: wire.Usage,
        exchange: "InferenceExchange",
        likely: tuple[tuple[str, int], ...],
        version: EdgeVersion | None,
    ) -> None:
        """Writes down what a request likely used, in the units that its model is priced by."""
        price, principal, asked = None, exchange.principal, exchange.asked
        assert principal is not None
        assert asked is not None
        if version is not None:
            with contextlib.suppress(NoRate):
                price = version.price_table.find(
                    asked.model, principal.price_group, exchange.started_us, principal.currency
                )
        for unit, quantity in likely:
            if price is not None and not price.knows((unit,)):
                continue
            if unit == REQUEST:
                usage.requests = quantity
            elif unit in _TOKENS:
                setattr(usage, f"{unit}_tokens", quantity)
            else:
                usage.units[unit] = quantity

    @staticmethod
    def _rate(event: events.UsageRecorded, version: EdgeVersion | None) -> None:
        price, tenant = None, event.tenant
        if version is not None:
            event.config_digest = version.digest
            # Without a rate nothing was admitted; a version since then may have lost it.
            with contextlib.suppress(NoRate):
                price = version.price_table.find(event.model, tenant.price_group, event.started_at_us, tenant.currency)
        if price is None:
            event.unpriced = True
            return
        event.price_digest, event.currency = price.digest, price.currency
        try:
            units = _units_of(event.usage)
            # Raises for what is beyond an amount before its conversion, too.
            charge = price.rate(units, event.started_at_us)
            if price.exchange is not None:
                listed = price.unconverted
                event.conversion.rate_digest, event.conversion.list_currency = price.rate_digest, listed.currency
                event.conversion.list_charge_pico = listed.rate(units, event.started_at_us)
                # What it cost nobody knows; an amount has a currency all the same.
                event.conversion.provider_currency = listed.currency
            event.charge_pico = charge
        except (Unpriced, AmountOutOfRange):
            event.unpriced = True


def _input_tokens(exchange: "InferenceExchange", model: EdgeModel | None) -> int:
    """Returns about how many tokens a prompt had: as the router estimates it, and no more than its model reads.

    Where the caller has left the body was given back, and its files count by their size.
    """
    tokens = prompt_tokens(exchange.body_length, embedded_files(exchange.body))
    return min(tokens, model.context) if model is not None and model.context else tokens


def _output_tokens(delivered: int, asked: Asked, model: EdgeModel | None) -> int:
    """Returns about how many tokens so many bytes of a reply were, and no more than the request allows."""
    tokens = delivered // (_STREAM_BYTES_PER_TOKEN if asked.stream else _REPLY_BYTES_PER_TOKEN) + 1
    most = asked.max_output_tokens
    if most is None:
        most = model.max_output if model is not None else 0
    return min(tokens, most * asked.choices) if most else tokens


def _units_of(usage: wire.Usage) -> dict[str, int]:
    """Returns what was written down by the rating's names."""
    units = {unit: getattr(usage, f"{unit}_tokens") for unit in _TOKENS}
    return {**units, REQUEST: usage.requests, **usage.units}
