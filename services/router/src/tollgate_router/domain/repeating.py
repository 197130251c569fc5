"""Which requests are asked of one provider only, once it may have done the work: it would be paid twice."""

from dataclasses import replace
from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.upstream_errors import UpstreamProblem

# Sound costs by its length, whoever gets it; edge has the same for a router that was lost (`Operation.once`).
ONCE: Final = frozenset({wire.OPERATION_SPEECH, wire.OPERATION_TRANSCRIPTION, wire.OPERATION_TRANSLATION})
_REQUEST_TIMEOUT: Final = 408
_CLIENT_CLOSED: Final = 499


def refuses(status: int) -> bool:
    """Tells whether a reply of this status says that nothing was done: the request, its sender or its rate was refused.

    A status from 500 on does not, 503 included: proxies answer so for a server that was lost while it worked. Nor do
    408 and 499, which say that somebody did not wait.
    """
    return 400 <= status < 500 and status not in {_REQUEST_TIMEOUT, _CLIENT_CLOSED}


def unknown(problem: UpstreamProblem) -> UpstreamProblem:
    """Returns what to tell of a request that is not asked again: of a connection that broke, that nobody knows more."""
    if problem.kind != errors.ERROR_KIND_UPSTREAM_CUT:
        return problem
    return replace(
        problem,
        message="The connection to the provider broke while it may have been at work, and this kind of request is not "
        "sent twice by itself. Send it again, if a second result does no harm.",
        code="provider_outcome_unknown",
    )
