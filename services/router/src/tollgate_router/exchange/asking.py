"""What a choice looks at where targets differ, from the words of a request; most requests are never asked."""

from typing import Final, TypeVar

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.abilities import BYTES_PER_TOKEN, embedded_in
from tollgate_router.domain.candidates import Ask
from tollgate_router.domain.endpoints.form import Form, form_of
from tollgate_router.domain.endpoints.sending import FORMS
from tollgate_router.domain.openai_chat import Members, read_body
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.domain.usage import ReplyUsage

_TOKENS_PER_FILE: Final = 1600
T = TypeVar("T")


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


def known(target: Target | None, found: T) -> T | UpstreamProblem:
    """Returns a problem that was found in a good reply as the provider's data knows it; else `found`."""
    return found if target is None else target.quirks.errors.again(found)


def estimate(opened: wire.Open, asked: Members | Form, output_tokens: int) -> ReplyUsage:
    """A provider that reports nothing is charged by size: four bytes of a prompt to a token, a frame a token.

    A file that is embedded in it counts as edge's count of tokens has it, where its size would be more.
    """
    files = [] if isinstance(asked, Form) else embedded_in(asked)
    saved = sum(max(0, size // BYTES_PER_TOKEN - _TOKENS_PER_FILE) for size in files)
    units = {"input": max(0, opened.body_length // BYTES_PER_TOKEN - saved) + 1}
    if opened.operation != wire.OPERATION_EMBEDDINGS:
        units["output"] = output_tokens
    return ReplyUsage(units, estimated=True)
