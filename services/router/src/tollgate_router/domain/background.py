"""Responses that run in the background: what a caller sees of one before it is whole, and when it never will be."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import structs

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_router.domain.dialects.responses_echo import brief, echo_of, response_in
from tollgate_router.domain.dialects.responses_object import retold
from tollgate_router.domain.dialects.responses_reply import begun_response
from tollgate_router.domain.openai_chat import Members
from tollgate_router.domain.stored import StoredResponse
from tollgate_router.domain.upstream_errors import UpstreamProblem

QUEUED: Final = "queued"
IN_PROGRESS: Final = "in_progress"
COMPLETED: Final = "completed"
INCOMPLETE: Final = "incomplete"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
# Those that there is an answer of.
ANSWERED: Final = frozenset((COMPLETED, INCOMPLETE))
_TRUE: Final = msgspec.Raw(b"true")
# OpenAI's words for what failed. Its clients know no others.
_CODES: Final[Mapping[int, str]] = {
    errors.ERROR_KIND_UPSTREAM_RATE_LIMITED: "rate_limit_exceeded",
    errors.ERROR_KIND_INVALID_REQUEST: "invalid_prompt",
    errors.ERROR_KIND_CONTEXT_LENGTH: "invalid_prompt",
    errors.ERROR_KIND_CONTENT_POLICY: "invalid_prompt",
}
_NO_WORDS: Final = "The response could not be made."
_LOST: Final = "The gateway's process that ran this response is gone, and the response with it. It is not charged."


class _Status(msgspec.Struct):
    status: str


_STATUS: Final = msgspec.json.Decoder(_Status)


def queued(response_id: str, model: str, created: int, members: Members) -> bytes:
    """Returns the response as its caller gets it at once. `created` is in seconds. Raises Refused."""
    told = {**brief(echo_of(members)), "background": _TRUE, "store": _TRUE}
    return msgspec.json.encode(begun_response(response_id, model, created, QUEUED) | told)


def answered(event: bytes, created: int) -> tuple[str, bytes]:
    """Returns status and response object of the event, without its name, that ended a stream."""
    found = response_in(event)
    told = {"background": _TRUE, "created_at": msgspec.Raw(b"%d" % created)}
    return _STATUS.decode(found).status, retold(found, told)


def failed(queued_response: bytes, problem: UpstreamProblem) -> bytes:
    """Returns the response object of one that failed by this."""
    error = {"code": _CODES.get(problem.kind, "server_error"), "message": problem.message or _NO_WORDS}
    return retold(queued_response, {"status": _word(FAILED), "error": msgspec.Raw(msgspec.json.encode(error))})


def cancelled(queued_response: bytes) -> bytes:
    """Returns the response object of one that its owner cancelled."""
    return retold(queued_response, {"status": _word(CANCELLED)})


def ended(one: StoredResponse, status: str, response: bytes) -> StoredResponse:
    """Returns what is to be stored of a response that has come to this end."""
    return structs.replace(one, status=status, response=response, running_until_us=0)


def lost(one: StoredResponse, now_us: int) -> StoredResponse | None:
    """Returns what is to be stored in place of a running response whose process is gone; None where it is not."""
    if not 0 < one.running_until_us <= now_us:
        return None
    return ended(one, FAILED, failed(one.response, UpstreamProblem(errors.ERROR_KIND_UNAVAILABLE, _LOST)))


def shown(one: StoredResponse) -> bytes:
    """Returns a stored response as its owner sees it now."""
    return retold(one.response, {"status": _word(one.status)}) if one.running_until_us else one.response


def _word(status: str) -> msgspec.Raw:
    return msgspec.Raw(b'"%b"' % status.encode())
