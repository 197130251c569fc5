"""Billing's ports of money as edge sees them: one suite for the fakes, and for the clients over gRPC.

The table is the ports themselves: each method names the message that it is asked with, and that message its RPC.
"""

import inspect
import tempfile
from typing import NamedTuple

import pytest
from services.edge.tests.fakes import services as fakes
from services.edge.tests.fakes.served import servicer, unary

from tollgate.billing.v1 import (
    controls_pb2_grpc,
    dead_letters_pb2_grpc,
    ledger_pb2_grpc,
    payments_pb2_grpc,
    reports_pb2_grpc,
)
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge import ledger_ports as ports
from tollgate_edge.adapters.control_client import ControlClient
from tollgate_edge.adapters.dead_letter_client import DeadLetterClient
from tollgate_edge.adapters.ledger_client import LedgerClient
from tollgate_edge.adapters.payment_client import PaymentClient
from tollgate_edge.adapters.report_client import ReportClient
from tollgate_edge.errors import PublicError, public_error
from tollgate_kit.grpc_io import new_server

pytestmark = pytest.mark.integration


class Border(NamedTuple):
    """A port, its fake, its client, the generated module, and the service's name in that."""

    port: type
    fake: type
    client: type
    generated: object
    service: str


BORDERS = (
    Border(ports.LedgerPort, fakes.FakeLedger, LedgerClient, ledger_pb2_grpc, "LedgerService"),
    Border(ports.DeadLetterPort, fakes.FakeDeadLetters, DeadLetterClient, dead_letters_pb2_grpc, "DeadLetterService"),
    Border(ports.ReportPort, fakes.FakeReports, ReportClient, reports_pb2_grpc, "ReportService"),
    Border(ports.PaymentPort, fakes.FakePayments, PaymentClient, payments_pb2_grpc, "PaymentService"),
    Border(ports.ControlPort, fakes.FakeControls, ControlClient, controls_pb2_grpc, "ControlService"),
)
# How many seconds a call may take where that is not 15.
SECONDS = {
    "rebuild_wallets": 300,
    "dead_letters": 30,
    "dead_letter": 30,
    "replay": 300,
    "statement": 30,
    "what_if": 300,
    "rerate_unpriced": 300,
    "take_back_repeated": 300,
    "controls": 5,
    "report_spools": 5,
    "test_destination": 40,
}


def methods(border):
    """Returns (name, type of the request, type of the reply) of all that the port asks."""
    for name, method in inspect.getmembers(border.port, inspect.isfunction):
        if not name.startswith("_"):
            hints = inspect.get_annotations(method, eval_str=True)
            yield name, hints["request"], hints["return"]


def filled(kind):
    """Returns a message with something in each field that is one number, word or truth."""
    message = kind()
    for number, field in enumerate(kind.DESCRIPTOR.fields, 1):
        if not field.is_repeated and field.message_type is None and field.enum_type is None:
            made = {field.CPPTYPE_STRING: f"text {number}", field.CPPTYPE_BOOL: True}.get(field.cpp_type, number)
            setattr(message, field.name, made.encode() if field.type == field.TYPE_BYTES else made)
    return message


def named(value):
    return f"{value[0].service}-{value[1]}"


@pytest.fixture(params=[(border, kind) for border in BORDERS for kind in ("fake", "grpc")], ids=named)
async def ported(request):
    """A border, its port, the fake that is behind it, and the seconds that each call was given, by its name."""
    border, kind = request.param
    fake, given = border.fake(), {}
    if kind == "fake":
        yield border, fake, fake, given
        return

    def noting(name):
        answer = unary(getattr(fake, name))

        async def handle(served, asked, context):
            given[name] = context.time_remaining()
            return await answer(served, asked, context)

        return handle

    calls = {asked.__name__.removesuffix("Request"): noting(name) for name, asked, _ in methods(border)}
    with tempfile.TemporaryDirectory(prefix="tgm-") as directory:
        address = f"unix:{directory}/billing.sock"
        server = new_server(address)
        served = servicer(getattr(border.generated, f"{border.service}Servicer"), **calls)
        getattr(border.generated, f"add_{border.service}Servicer_to_server")(served, server)
        await server.start()
        client = border.client(address)
        yield border, client, fake, given
        await client.close()
        await server.stop(0)


async def test_every_field_of_question_and_answer_is_passed_on(ported):
    border, port, fake, _ = ported
    for name, asked, answered in methods(border):
        fake.replies[name] = filled(answered)
        assert await getattr(port, name)(filled(asked)) == filled(answered), name
        assert fake.asked[-1] == (name, filled(asked))


async def test_what_billing_refuses_is_a_public_error_with_its_kind_words_and_field(ported):
    border, port, fake, _ = ported
    for name, asked, _ in methods(border):
        fake.replies[name] = public_error(errors.ERROR_KIND_INVALID_REQUEST, "Not so.", "amount")
        with pytest.raises(PublicError, match=r"Not so\.") as raised:
            await getattr(port, name)(asked())
        assert (raised.value.status, raised.value.param) == (400, "amount"), name


@pytest.mark.parametrize("ported", [(border, "grpc") for border in BORDERS], ids=named, indirect=True)
async def test_a_call_ends_when_its_time_is_up(ported):
    border, port, _, given = ported
    for name, asked, _ in methods(border):
        await getattr(port, name)(asked())
        most = SECONDS.get(name, 15)
        assert given[name] is not None, name
        # The long ones have more than the others could have; gRPC rounds up to whole parts of a second.
        assert (30 if most > 30 else 0) < given[name] < most + 1, name


@pytest.mark.parametrize("border", BORDERS, ids=lambda border: border.service)
async def test_billing_that_is_away_is_said_to_be_so(border, tmp_path):
    client = border.client(f"unix:{tmp_path}/nobody.sock")
    for name, asked, _ in methods(border):
        with pytest.raises(PublicError) as raised:
            await getattr(client, name)(asked())
        assert (raised.value.status, raised.value.code) == (503, "service_unavailable"), name
    await client.close()
