"""What a request asks: of a choice where targets differ, which most are never asked, and how much time it has."""

from typing import TYPE_CHECKING, TypeVar

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.candidates import Ask, Candidates
from tollgate_router.domain.endpoints.form import Form, form_of
from tollgate_router.domain.endpoints.sending import FORMS
from tollgate_router.domain.openai_chat import Members, read_body
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.telemetry import operation_name

if TYPE_CHECKING:
    from tollgate_router.domain.snapshot import Snapshot

T = TypeVar("T")


def serving(snapshot: "Snapshot", opened: wire.Open) -> Candidates | UpstreamProblem:
    """Returns who may serve this model and operation to this caller, or why nobody does."""
    candidates = snapshot.serving(opened.tenant.route_group, opened.model, opened.operation)
    if candidates is None:
        return UpstreamProblem(*snapshot.unserved(opened.tenant.route_group, opened.model))
    if candidates.empty:
        words = f"No provider of '{opened.model}' serves this: {operation_name(opened.operation)}."
        return UpstreamProblem(errors.ERROR_KIND_INVALID_REQUEST, words)
    return candidates


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
        operation=opened.operation,
        dialect=opened.dialect,
        headers={header.name: header.value for header in opened.headers},
    )


def known(target: Target | None, found: T) -> T | UpstreamProblem:
    """Returns a problem that was found in a good reply as the provider's data knows it; else `found`."""
    return found if target is None else target.quirks.errors.again(found)


def is_late(opened: wire.Open, passed_us: int) -> bool:
    """Tells whether the time of a request is up that came `passed_us` microseconds ago."""
    return 0 < opened.timeout_ms * 1000 <= passed_us


def time_left_ms(opened: wire.Open, passed_us: int) -> int:
    """Returns how long such a request may still take, at least 1 ms; 0 is no limit of its own."""
    limit = opened.timeout_ms
    return max(1, limit - passed_us // 1000) if limit else 0
