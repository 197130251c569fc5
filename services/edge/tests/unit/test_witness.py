"""What edge writes down of a request whose router vanished, where it is not metered in tokens of text."""

import base64
from types import SimpleNamespace

import pytest

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.domain.principal import Principal
from tollgate_edge.faces import OPENAI
from tollgate_edge.inference.fields import decode
from tollgate_edge.inference.witness import Witness
from tollgate_edge.ports import EdgeModel, EdgeVersion
from tollgate_kit.clock import ManualClock, SystemClock
from tollgate_rating import ExchangeRate, PriceBook, PriceTable

PRICES = {
    "by-character": {"character": "15"},
    "by-token": {"input": "1", "output": "2"},
    "by-search": {"search": "0.002"},
    "by-request": {"request": "0.001"},
    "by-fortune": {"request": "9300", "input": "0", "output": "0"},
    "by-call": {"request": "0.04", "input": "0", "output": "0"},
}


class Spool:
    """Keeps what is appended."""

    def __init__(self):
        self.payloads = []

    def recovered(self):
        return ()

    def append(self, payload):
        self.payloads.append(payload)
        return len(self.payloads)

    def acknowledge(self, sequence):
        pass

    def flush(self):
        pass


def witnessed(
    operation,
    body,
    *,
    delivered=100,
    currency="",
    rates=(),
    clock=None,
    started_us=1,
    left=False,
    context=0,
    max_output=0,
):
    spool = Spool()
    witness = Witness(spool, SimpleNamespace(queue=lambda *_: None), clock or SystemClock())
    principal = Principal("key_1", "org_1", "prj_1", "default", "default", None, is_operator=False, currency=currency)
    exchange = SimpleNamespace(
        principal=principal,
        asked=decode(operation, wire.DIALECT_OPENAI_CHAT, body, 128),
        operation=operation,
        body=b"" if left else body,
        body_length=len(body),
        request_id="req_1",
        tries=1,
        started_us=started_us,
        face=OPENAI,
        trace_id="0" * 32,
        span_id="0" * 16,
        marks=("", 0),
        hold_pico=0,
    )
    prices = PriceTable([PriceBook(name="public", effective_us=0, currency="USD", models=PRICES)], rates=rates)
    models = {name: EdgeModel(name, "chat", "vendor", 0, context, max_output) for name in PRICES}
    witness.record(exchange, delivered, EdgeVersion("sha256:0", 1, prices, {"default": models}))
    (payload,) = spool.payloads
    return events.UsageRecorded.FromString(payload)


@pytest.mark.parametrize(
    ("operation", "body", "charge_pico"),
    [
        (wire.OPERATION_SPEECH, b'{"model":"by-character","input":"0123456789"}', 10 * 15 * 10**6),
        # Four bytes to a token, and a token of sound to a character.
        (wire.OPERATION_SPEECH, b'{"model":"by-token","input":"0123456789"}', 3 * 10**6 + 10 * 2 * 10**6),
        (wire.OPERATION_RERANK, b'{"model":"by-search","query":"q","documents":["d"]}', 2 * 10**9),
        (wire.OPERATION_MODERATION, b'{"model":"by-request","input":"x"}', 10**9),
        (wire.OPERATION_CHAT, b'{"model":"by-call","messages":[]}', 4 * 10**10),
    ],
)
def test_what_was_likely_used_is_charged_in_the_units_of_the_price(operation, body, charge_pico):
    event = witnessed(operation, body)
    assert (event.charge_pico, event.unpriced, event.estimated) == (charge_pico, False, True)
    assert event.usage.requests == 1


PICTURE = base64.b64encode(bytes(3_750_000))
# With slashes in it.
PHOTO = base64.b64encode(bytes(range(256)) * 12_000)
LINES = b"\\r\\n".join(PHOTO[at : at + 76] for at in range(0, len(PHOTO), 76))
EMBEDDED = {
    "chat": b'{"model":"by-token","messages":[{"content":[{"image_url":{"url":"data:image/png;base64,%b"}}]}]}',
    "anthropic": b'{"model":"by-token","messages":[{"content":[{"source":{"data":"%b"}}]}]}',
}


@pytest.mark.parametrize("dialect", EMBEDDED)
@pytest.mark.parametrize(
    ("left", "context", "least", "most"),
    [
        # A file is 1,600 tokens, and the rest are those of the words.
        (False, 0, 1600, 1640),
        (False, 128_000, 1600, 1640),
        (False, 1_000, 1_000, 1_000),
        # The body was given back with the caller.
        (True, 128_000, 128_000, 128_000),
        (True, 0, 1_250_000, 1_250_040),
    ],
)
def test_a_picture_in_a_prompt_is_no_text_of_its_size(dialect, left, context, least, most):
    event = witnessed(wire.OPERATION_CHAT, EMBEDDED[dialect] % PICTURE, left=left, context=context)
    assert least <= event.usage.input_tokens <= most


@pytest.mark.parametrize("slash", [b"/", b"\\/"], ids=["plain", "escaped"])
@pytest.mark.parametrize("written", [PHOTO, LINES, LINES.replace(b"\\r", b"")], ids=["a run", "both", "line feeds"])
@pytest.mark.parametrize("dialect", EMBEDDED)
def test_a_picture_is_one_however_its_base64_is_written(dialect, written, slash):
    event = witnessed(wire.OPERATION_CHAT, EMBEDDED[dialect] % written.replace(b"/", slash))
    assert 1600 <= event.usage.input_tokens <= 1640


def test_what_follows_letters_without_blanks_is_words():
    """Up to the end of the string all of it counted as one file, for 1,600 tokens."""
    body = b'{"model":"by-token","messages":["%b%b"]}' % (b"a" * 1_024, b" words" * 100_000)
    assert 150_000 <= witnessed(wire.OPERATION_CHAT, body).usage.input_tokens <= 150_300


def test_two_pictures_are_two_and_words_stay_words():
    body = b'{"model":"by-token","messages":["%b","%b","%b"]}' % (PICTURE, b"words " * 4_000, PICTURE)
    assert 2 * 1600 + 6_000 <= witnessed(wire.OPERATION_CHAT, body).usage.input_tokens <= 2 * 1600 + 6_040


@pytest.mark.parametrize(
    ("fields", "max_output", "tokens"),
    [
        # 14 KB of a whole reply are 876 tokens by their size, many more than 10 with their log-probabilities.
        (b"", 0, 876),
        (b"", 100, 100),
        (b',"max_tokens":10', 0, 10),
        (b',"max_tokens":10', 100, 10),
        (b',"max_tokens":10,"n":3', 0, 30),
        (b',"max_tokens":10000', 0, 876),
    ],
)
def test_no_more_output_is_charged_than_was_asked_for(fields, max_output, tokens):
    body = b'{"model":"by-token","messages":[]%b}' % fields
    event = witnessed(wire.OPERATION_CHAT, body, delivered=14_000, max_output=max_output)
    assert event.usage.output_tokens == tokens


def test_nothing_delivered_is_nothing_charged():
    event = witnessed(wire.OPERATION_SPEECH, b'{"model":"by-character","input":"x"}', delivered=0)
    assert (event.charge_pico, dict(event.usage.units), event.usage.requests) == (0, {}, 0)


@pytest.mark.parametrize(("delivered", "listed"), [(100, 4 * 10**10), (0, 0)])
def test_of_an_amount_that_was_converted_both_currencies_are_said(delivered, listed):
    rate = ExchangeRate(base="USD", quote="CNY", rate="7.1", effective_us=0)
    body = b'{"model":"by-call","messages":[]}'
    event = witnessed(wire.OPERATION_CHAT, body, delivered=delivered, currency="CNY", rates=[rate])
    assert (event.charge_pico, event.currency, event.cost_pico) == (listed * 71 // 10, "CNY", 0)
    conversion = event.conversion
    assert (conversion.list_charge_pico, conversion.provider_cost_pico) == (listed, 0)
    # Billing takes no amount without a currency.
    assert (conversion.list_currency, conversion.provider_currency, conversion.rate_digest) == (
        "USD",
        "USD",
        rate.digest,
    )


def test_what_is_beyond_an_amount_before_its_conversion_is_kept_without_a_price():
    """A charge beside `unpriced` would be nothing that billing books."""
    rate = ExchangeRate(base="USD", quote="CNY", rate="0.01", effective_us=0)
    event = witnessed(wire.OPERATION_CHAT, b'{"model":"by-fortune","messages":[]}', currency="CNY", rates=[rate])
    assert (event.unpriced, event.charge_pico, event.HasField("conversion")) == (True, 0, False)
    assert event.usage.requests == 1


def test_a_clock_that_is_set_back_meanwhile_does_not_end_a_request_before_it_began():
    """Billing takes no event that ended an hour before its start, and no replay would change that."""
    clock = ManualClock()
    started = clock.now_us()
    clock.advance(-2 * 3600)
    event = witnessed(wire.OPERATION_CHAT, b'{"model":"by-call","messages":[]}', clock=clock, started_us=started)
    assert (event.started_at_us, event.ended_at_us) == (started, started)
