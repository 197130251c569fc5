"""What a choice looks at where targets differ, from the words of a request; most requests are never asked."""

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.candidates import Ask
from tollgate_router.domain.endpoints.form import Form, form_of
from tollgate_router.domain.endpoints.sending import FORMS
from tollgate_router.domain.estimated import estimate
from tollgate_router.domain.openai_chat import Members, read_body

__all__ = ["ask_of", "estimate", "read_request"]


def read_request(opened: wire.Open, body: bytes | bytearray) -> Members | Form:
    """Returns what a request's body says: its members, or a form's parts. Raises InvalidBody."""
    return form_of(opened, body) if opened.operation in FORMS else read_body(body)


def ask_of(opened: wire.Open, asked: Members | Form) -> Ask:
    """Returns what a choice may ask of this request."""
    tenant = opened.tenant
    return Ask(
        route_group=tenant.route_group,
        model=opened.model,
        members={} if isinstance(asked, Form) else asked,
        # The size of a file says nothing about a context.
        body_bytes=0 if isinstance(asked, Form) else opened.body_length,
        project_id=tenant.project_id,
        api_key_id=tenant.api_key_id,
        chat=opened.operation == wire.OPERATION_CHAT,
        dialect=opened.dialect,
        headers={header.name: header.value for header in opened.headers},
    )
