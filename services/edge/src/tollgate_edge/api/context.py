"""What the handlers of edge's HTTP API work with."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.links import LinkSigner
from tollgate_edge.api.reading import BodyReader, authenticate
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import PublicError, public_error
from tollgate_edge.ledger_ports import (
    ControlPort,
    DeadLetterPort,
    LedgerPort,
    MendingPort,
    PaymentPort,
    ReportPort,
)
from tollgate_edge.ports import (
    Authenticator,
    BillingPort,
    CurrentVersion,
    Downgrade,
    KeyStore,
    LimitStore,
    MediaPort,
    RouterPort,
    TenantStore,
)
from tollgate_edge.use_cases.create_key import CreateKey
from tollgate_edge.use_cases.create_tenant import CreateTenant
from tollgate_edge.use_cases.give_credit import GiveCredit
from tollgate_edge.use_cases.import_keys import ImportKeys
from tollgate_holds import LimitSet
from tollgate_kit.clock import Clock
from tollgate_kit.tracing import Tracing

Placed = Callable[[LimitSet, Sequence[int], int, int], tuple[dict[str, str], PublicError | None]]
Turned = Callable[[Principal, str, Callable[[str], bool]], Downgrade | PublicError | None]


def unlimited(
    _limits: LimitSet, _verdict: Sequence[int], _tokens: int, _started_us: int
) -> tuple[dict[str, str], PublicError | None]:
    """Where nothing is limited there is nothing to say."""
    return {}, None


def never_turned(_principal: Principal, _model: str, _usable: Callable[[str], bool]) -> Downgrade | PublicError | None:
    """Without anybody to ask, no budget refuses or turns anything."""
    return None


@dataclass(frozen=True, slots=True)
class HttpContext:
    authenticator: Authenticator
    version: CurrentVersion
    keys: KeyStore
    tenants: TenantStore
    limits: LimitStore
    create_key: CreateKey
    import_keys: ImportKeys
    create_tenant: CreateTenant
    give_credit: GiveCredit
    billing: BillingPort
    ledger: LedgerPort
    reports: ReportPort
    dead_letters: DeadLetterPort
    mending: MendingPort
    payments: PaymentPort
    controls: ControlPort
    media: MediaPort
    routers: RouterPort
    links: LinkSigner
    evidence_links: LinkSigner
    bodies: BodyReader
    clock: Clock
    tracing: Tracing
    # Ids of spans are drawn from it.
    random: Random
    missing: Callable[[], list[str]]
    notes: Callable[[], list[str]]
    state: Callable[[], str]
    new_request_id: Callable[[], str]
    # Told every error: id of the request, whose key it was, the route as the API describes it, and the error.
    refused: Callable[[str, Principal | None, str, PublicError], None]
    # Events that wait on this process's disk, and why they cannot leave; empty while they can.
    spool: Callable[[], tuple[int, str]]
    public_url: str = ""
    media_timeout_seconds: float = 600.0
    trusted_hops: int = 0
    # Returns the network of a caller and the keyed hash of a body, from that, the peer and X-Forwarded-For.
    marks: Callable[[bytes, str, bytes], tuple[str, int]] | None = None
    trace_sample_ratio: float = 1.0
    # Tells whether a request of this caller that is refused with this status may have a span.
    room_for_span: Callable[[Principal | None, int], bool] = lambda _caller, _status: True
    # Returns the headers of a request's answer, and the error of a refusal, from its limits, what Redis said to a hold
    # within them, the tokens that it was counted as, and when it began.
    placed: Placed = unlimited
    # Returns what budgets turn a request to, or the error of one that they refuse; asks which models it may turn to.
    turned: Turned = never_turned
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def caller(self, request: Request, endpoint: str = "") -> Principal:
        """Returns the bearer of an API key that may be used for `endpoint` (empty: any may).

        Raises PublicError; an operator's token calls no models.
        """
        principal = await self._authenticate(request, endpoint)
        if principal.is_operator:
            raise public_error(
                errors.ERROR_KIND_FORBIDDEN, "An access token manages the gateway. Call models with an API key."
            )
        return principal

    async def anyone(self, request: Request) -> Principal:
        """Returns the bearer of an API key or an access token. Raises PublicError."""
        return await self._authenticate(request)

    async def operator(self, request: Request) -> Principal:
        """Returns the bearer of an access token. Raises PublicError."""
        principal = await self._authenticate(request)
        if not principal.is_operator:
            raise public_error(errors.ERROR_KIND_FORBIDDEN, "This needs an operator's access token.")
        return principal

    async def _authenticate(self, request: Request, endpoint: str = "") -> Principal:
        return await authenticate(request, self.authenticator, self.trusted_hops, endpoint)

    def base_url(self, request: Request) -> str:
        """Returns the address under which the caller reached us, without a slash at the end."""
        return self.public_url.rstrip("/") or str(request.base_url).rstrip("/")


def page_response(items: list[dict[str, Any]], limit: int) -> Response:
    """Returns one page of a list; `items` holds one more than `limit` where there is a next page."""
    shown = items[:limit]
    return json_response({"items": shown, "next": shown[-1]["id"] if len(items) > limit else None})


def json_response(content: Any, status: int = 200) -> Response:
    """Returns a JSON reply."""
    return Response(json.dumps(content, ensure_ascii=False).encode(), status, media_type="application/json")
