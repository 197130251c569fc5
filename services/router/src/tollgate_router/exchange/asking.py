"""What a choice looks at where targets differ, from the words of a request; most requests are never asked."""

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.candidates import Ask
from tollgate_router.domain.openai_chat import Members


def ask_of(opened: wire.Open, members: Members) -> Ask:
    """Returns what a choice may ask of this request."""
    tenant = opened.tenant
    return Ask(
        route_group=tenant.route_group,
        model=opened.model,
        members=members,
        body_bytes=opened.body_length,
        project_id=tenant.project_id,
        api_key_id=tenant.api_key_id,
        chat=opened.operation == wire.OPERATION_CHAT,
        dialect=opened.dialect,
        headers={header.name: header.value for header in opened.headers},
    )
