"""What an upstream's refusal means: status, body and failure become one kind, with words that a caller may read."""

import enum
import re
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import msgspec

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_router.domain.failure import FailureKind, UpstreamFailure

_MAX_MESSAGE: Final = 500
_MAX_CODE: Final = 64
_MAX_WAIT_MS: Final = 3_600_000


class Bench(enum.Enum):
    """Why a credential should rest after this answer."""

    NONE = ""
    CREDENTIALS = "the provider rejects the credential"
    BALANCE = "the provider's account has no balance"
    CLOCK = "the provider finds the time of the signature wrong: look at this machine's clock"
    NO_PROOF = "the token server gives no access token"


_RETRYABLE: Final = frozenset(
    {
        errors.ERROR_KIND_MODEL_NOT_FOUND,
        errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
        errors.ERROR_KIND_UPSTREAM_TIMEOUT,
        errors.ERROR_KIND_UPSTREAM_PROTOCOL,
        errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
        errors.ERROR_KIND_UPSTREAM_CUT,
        errors.ERROR_KIND_UPSTREAM_RATE_LIMITED,
    }
)


@dataclass(frozen=True, slots=True)
class UpstreamProblem:
    """`kind` is a tollgate.errors.v1.ErrorKind; `message`, `param` and `code` may be shown to the caller."""

    kind: int
    message: str
    param: str = ""
    code: str = ""
    retry_after_ms: int = 0
    bench: Bench = Bench.NONE
    blameless: bool = False
    """It says nothing about the upstream: our own limits stood in the way."""
    said: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    """The error that came with status 200, which the provider's data may know more of."""

    @property
    def retryable(self) -> bool:
        """Another target may do better: the fault is not the caller's."""
        return self.kind in _RETRYABLE


class Hints(NamedTuple):
    """What the headers of a refusal say beside its body: how long to wait, and the error's name at Amazon."""

    retry_after_ms: int = 0
    word: str = ""


NO_HINTS: Final = Hints()
_FIXED: Final = {
    errors.ERROR_KIND_UPSTREAM_UNAVAILABLE: "The provider is not available now.",
    errors.ERROR_KIND_UPSTREAM_TIMEOUT: "The provider did not answer in time.",
    errors.ERROR_KIND_UPSTREAM_PROTOCOL: "The provider's answer could not be understood.",
    errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS: "The provider did not accept this gateway's account.",
    errors.ERROR_KIND_UPSTREAM_CUT: "The provider's answer broke off.",
    errors.ERROR_KIND_UPSTREAM_RATE_LIMITED: "The provider's rate limit is reached.",
}
_BY_FAILURE: Final = {
    FailureKind.CONNECT_TIMEOUT: errors.ERROR_KIND_UPSTREAM_TIMEOUT,
    FailureKind.FIRST_BYTE_TIMEOUT: errors.ERROR_KIND_UPSTREAM_TIMEOUT,
    FailureKind.IDLE_TIMEOUT: errors.ERROR_KIND_UPSTREAM_TIMEOUT,
    FailureKind.TOTAL_TIMEOUT: errors.ERROR_KIND_UPSTREAM_TIMEOUT,
    FailureKind.NO_PROOF: errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    FailureKind.CUT: errors.ERROR_KIND_UPSTREAM_CUT,
    FailureKind.PROTOCOL: errors.ERROR_KIND_UPSTREAM_PROTOCOL,
}
_BY_STATUS: Final = {
    401: errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    402: errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    403: errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    404: errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    405: errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    407: errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    408: errors.ERROR_KIND_UPSTREAM_TIMEOUT,
    409: errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    413: errors.ERROR_KIND_PAYLOAD_TOO_LARGE,
    425: errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    429: errors.ERROR_KIND_UPSTREAM_RATE_LIMITED,
    504: errors.ERROR_KIND_UPSTREAM_TIMEOUT,
    524: errors.ERROR_KIND_UPSTREAM_TIMEOUT,
}
# Of UPSTREAM_UNAVAILABLE: callers wait where a provider has too much to do, and look elsewhere where it is broken.
OVERLOADED: Final = "server_is_overloaded"
_OVERLOADED: Final = "The provider is overloaded now."
_OVERLOADED_STATUS: Final = frozenset((503, 529))
_OVERLOADED_WORDS: Final = frozenset(
    ("overloaded", "overloaded_error", "engine_overloaded_error", OVERLOADED, "serviceunavailableexception")
)
# Words that providers use in `code` or `type`, and names of errors at Amazon, compared in lower case.
_BY_CODE: Final = {
    "accessdeniedexception": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "api_error": errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    "authentication_error": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "bio_policy": errors.ERROR_KIND_CONTENT_POLICY,
    "billing_error": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "billing_hard_limit_reached": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "billing_not_active": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "content_filter": errors.ERROR_KIND_CONTENT_POLICY,
    "content_policy_violation": errors.ERROR_KIND_CONTENT_POLICY,
    "contentfilter": errors.ERROR_KIND_CONTENT_POLICY,
    "context_length_exceeded": errors.ERROR_KIND_CONTEXT_LENGTH,
    "data_inspection_failed": errors.ERROR_KIND_CONTENT_POLICY,
    "deploymentnotfound": errors.ERROR_KIND_MODEL_NOT_FOUND,
    "expiredtokenexception": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "image_content_policy_violation": errors.ERROR_KIND_CONTENT_POLICY,
    "incompletesignatureexception": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "insufficient_balance": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "insufficient_quota": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "insufficient_user_quota": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "internalserverexception": errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    "invalid_api_key": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "invalid_prompt": errors.ERROR_KIND_CONTENT_POLICY,
    "invalidsignatureexception": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "missingauthenticationtokenexception": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "misalignment_policy_violation": errors.ERROR_KIND_CONTENT_POLICY,
    "model_not_found": errors.ERROR_KIND_MODEL_NOT_FOUND,
    "modelerrorexception": errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    "modelnotreadyexception": errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    "modelstreamerrorexception": errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    "modeltimeoutexception": errors.ERROR_KIND_UPSTREAM_TIMEOUT,
    "moderation_blocked": errors.ERROR_KIND_CONTENT_POLICY,
    "not_found_error": errors.ERROR_KIND_MODEL_NOT_FOUND,
    "overloaded_error": errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    "permission_error": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "rate_limit_error": errors.ERROR_KIND_UPSTREAM_RATE_LIMITED,
    "rate_limit_exceeded": errors.ERROR_KIND_UPSTREAM_RATE_LIMITED,
    "request_too_large": errors.ERROR_KIND_PAYLOAD_TOO_LARGE,
    "requestexpired": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "requesttimetooskewed": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "resourcenotfoundexception": errors.ERROR_KIND_MODEL_NOT_FOUND,
    "responsibleaipolicyviolation": errors.ERROR_KIND_CONTENT_POLICY,
    "server_is_overloaded": errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    "servicequotaexceededexception": errors.ERROR_KIND_UPSTREAM_RATE_LIMITED,
    "serviceunavailableexception": errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    "string_above_max_length": errors.ERROR_KIND_CONTEXT_LENGTH,
    "throttlingexception": errors.ERROR_KIND_UPSTREAM_RATE_LIMITED,
    "timeout_error": errors.ERROR_KIND_UPSTREAM_TIMEOUT,
    "unrecognizedclientexception": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
}
_BY_WORDS: Final = (
    (
        re.compile(
            r"maximum context length|context window|context length|prompt is too long|too many input tokens"
            r"|input is too long for requested model",
            re.IGNORECASE,
        ),
        errors.ERROR_KIND_CONTEXT_LENGTH,
    ),
    (
        re.compile(
            r"insufficient[ _](?:balance|quota|credit|funds)|balance is too low|exceeded your current quota",
            re.IGNORECASE,
        ),
        None,
    ),
    (re.compile(r"api[ _-]?key (?:is )?(?:not valid|invalid|expired)|invalid api[ _-]?key", re.IGNORECASE), False),
    (re.compile(r"content (?:management )?(?:policy|filter)", re.IGNORECASE), errors.ERROR_KIND_CONTENT_POLICY),
    (
        re.compile(r"model\b.{0,120}\b(?:does not exist|not found|is not supported)", re.IGNORECASE),
        errors.ERROR_KIND_MODEL_NOT_FOUND,
    ),
)
_NO_ACCESS: Final = re.compile(r"access to (?:the|this) model", re.IGNORECASE)
_BALANCE: Final = re.compile(r"insufficient|billing|quota|balance", re.IGNORECASE)
_CLOCK: Final = re.compile(
    r"signature expired|signature not yet current|RequestTimeTooSkewed|RequestExpired", re.IGNORECASE
)
_SECRETS: Final = re.compile(
    r"https?://\S+"
    r"|\b(?:[a-z0-9-]+\.)+(?:com|net|org|io|ai|dev|cn|app|cloud|local|internal|svc)\b(?:[:/]\S*)?"
    r"|\b(?:sk|pk|rk|ak|gsk|xai)-[A-Za-z0-9_*.-]{4,}"
    r"|\b(?:org|proj|acct|project|organization|key|req|request)[-_](?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{6,}"
    r"|\bBearer\s+\S+"
    r"|[\w.+-]+@[\w-]+\.[\w.]+"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
    r"|\b(?=[A-Za-z0-9_-]*\d)[A-Za-z0-9_-]{32,}\b",
    re.IGNORECASE,
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def kind_name(kind: int) -> str:
    """Returns the name of an ErrorKind as events carry it: lower case, without prefix."""
    return errors.ErrorKind.Name(kind).removeprefix("ERROR_KIND_").lower()


def scrub(text: str) -> str:
    """Returns words of an upstream without addresses, keys, account ids and control characters, at most 500 long."""
    plain = _CONTROL.sub(" ", text[: 4 * _MAX_MESSAGE])
    return _SECRETS.sub("***", plain)[:_MAX_MESSAGE].strip()


def problem_of_failure(failure: UpstreamFailure) -> UpstreamProblem:
    """Returns what a call that never became a whole reply means."""
    kind = _BY_FAILURE.get(failure.kind, errors.ERROR_KIND_UPSTREAM_UNAVAILABLE)
    if failure.kind is FailureKind.BUSY:
        return UpstreamProblem(kind, _FIXED[kind], blameless=True)
    return _fixed(kind, bench=Bench.NO_PROOF if failure.kind is FailureKind.NO_PROOF else Bench.NONE)


def problem_of_reply(status: int, body: bytes, hints: Hints = NO_HINTS) -> UpstreamProblem:
    """Returns what a reply with another status than 200 means; the body may be anything at all."""
    return classify(status, error_said(body, hints), hints.retry_after_ms)


def error_said(body: bytes, hints: Hints) -> dict[str, Any]:
    """Returns the error object of a refusal, whose name stands in a header at Amazon."""
    error = error_of(body)
    if hints.word or "__type" in error:
        # In the body the name stands behind a namespace, and the words come in either spelling.
        word = hints.word or _text(error["__type"]).rpartition("#")[2]
        return {"type": word, "message": error.get("message", error.get("Message"))}
    return error


def problem_of_error(error: object) -> UpstreamProblem:
    """Returns what an `error` member means that came with status 200, whole or within a stream.

    Some providers put the status that they would have sent into `code` or `status`.
    """
    found = error if isinstance(error, dict) else {"message": error if isinstance(error, str) else ""}
    for name in ("status", "status_code", "code"):
        value = found.get(name)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
            return replace(classify(value, found, 0), said=found)
    return replace(classify(0, found, 0), said=found)


def problem_of_exception(word: str, message: str) -> UpstreamProblem:
    """Returns what an exception within a stream of Amazon's means: its name and its words."""
    said = {"type": word, "message": message}
    return replace(classify(400 if word.lower() == "validationexception" else 0, said, 0), said=said)


def unreadable() -> UpstreamProblem:
    """A reply that is no JSON, not whole, or not of the wire's shape."""
    return _fixed(errors.ERROR_KIND_UPSTREAM_PROTOCOL)


def retry_after_ms(headers: list[tuple[bytes, bytes]], now_us: int) -> int:
    """Returns the wait that `retry-after-ms` or `retry-after` (seconds, or a date) asks for; 0 for none.

    At most an hour. `now_us` is microseconds since the epoch.
    """
    found = 0
    for name, value in headers:
        if name == b"retry-after-ms":
            if (wait := _number(value)) is not None:
                return min(round(wait), _MAX_WAIT_MS)
        elif name == b"retry-after":
            wait = _number(value)
            found = _until_date(value, now_us) if wait is None else round(wait * 1000)
    return min(max(0, found), _MAX_WAIT_MS)


def hints_of(headers: list[tuple[bytes, bytes]], now_us: int) -> Hints:
    """Returns what the headers of a refusal say. `now_us` is microseconds since the epoch."""
    return Hints(retry_after_ms(headers, now_us), error_word(headers))


def error_word(headers: list[tuple[bytes, bytes]]) -> str:
    """Returns the error's name at Amazon, which stands before an address; empty where there is none."""
    word = next((value for name, value in headers if name == b"x-amzn-errortype"), b"")
    return word.partition(b":")[0].decode("latin-1")


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < 1e12 else None


def _until_date(value: bytes, now_us: int) -> int:
    try:
        moment = parsedate_to_datetime(value.decode("latin-1"))
    except ValueError:
        return 0
    # A date without a zone is read as GMT, the only one that HTTP knows.
    return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000 - now_us / 1000)


def error_of(body: bytes) -> dict[str, Any]:
    """Returns the error object within a body: `{"error": {…}}`, `{"error": "…"}`, `[{…}]` or the body itself."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, dict):
        return {}
    inner = found.get("error")
    if isinstance(inner, dict):
        return inner
    return {**found, "message": inner} if isinstance(inner, str) else found


def classify(status: int, error: dict[str, Any], wait_ms: int) -> UpstreamProblem:
    """Returns what an error object means; `status` is 0 where none was sent."""
    words = _text(error.get("message"))
    code, kind_word = _text(error.get("code")), _text(error.get("type"))
    kind = _kind(status, code, kind_word, words)
    bench = Bench.NONE
    if kind == errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS:
        bench = _bench(status, f"{code} {kind_word} {words}")
    problem = problem_of_kind(kind, error, wait_ms, bench)
    busy = status in _OVERLOADED_STATUS or not _OVERLOADED_WORDS.isdisjoint((code.lower(), kind_word.lower()))
    return overloaded(problem) if busy and kind == errors.ERROR_KIND_UPSTREAM_UNAVAILABLE else problem


def overloaded(problem: UpstreamProblem) -> UpstreamProblem:
    """Returns the problem of a provider that has too much to do just now."""
    wait_ms = problem.retry_after_ms
    return UpstreamProblem(problem.kind, _OVERLOADED, code="server_is_overloaded", retry_after_ms=wait_ms)


def problem_of_kind(kind: int, error: dict[str, Any], wait_ms: int, bench: Bench) -> UpstreamProblem:
    """Returns the problem of an error whose kind is known; its words are shown where the fault may be the caller's."""
    wait_ms = wait_ms or _wait_in(error)
    if kind in _FIXED:
        return _fixed(kind, wait_ms, bench)
    message = scrub(_text(error.get("message"))) or "The provider refused the request."
    param, code = scrub(_text(error.get("param"))), scrub(_text(error.get("code")))
    return UpstreamProblem(kind, message, param[:_MAX_CODE], code[:_MAX_CODE], wait_ms)


def _wait_in(error: dict[str, Any]) -> int:
    """Returns the wait that Google says within an error, as `34.4s`, since it sends no header; 0 for none."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        said = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(said, str) and said.endswith("s"):
            return min(round((_number(said[:-1].encode()) or 0) * 1000), _MAX_WAIT_MS)
    return 0


def _bench(status: int, said: str) -> Bench:
    if status == 402 or _BALANCE.search(said):
        return Bench.BALANCE
    return Bench.CLOCK if _CLOCK.search(said) else Bench.CREDENTIALS


def _kind(status: int, code: str, kind_word: str, words: str) -> int:
    if status >= 500:
        return _BY_STATUS.get(status, errors.ERROR_KIND_UPSTREAM_UNAVAILABLE)
    for word in (code.lower(), kind_word.lower()):
        if word in _BY_CODE:
            kind = _BY_CODE[word]
            # One model that the account may not ask says nothing of the account.
            one_model = kind == errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS and _NO_ACCESS.search(words)
            return errors.ERROR_KIND_MODEL_NOT_FOUND if one_model else kind
    for pattern, meant in _BY_WORDS:
        if pattern.search(words):
            return meant or errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status == 0:
        return errors.ERROR_KIND_UPSTREAM_UNAVAILABLE
    return errors.ERROR_KIND_INVALID_REQUEST if status >= 400 else errors.ERROR_KIND_UPSTREAM_PROTOCOL


def _fixed(kind: int, wait_ms: int = 0, bench: Bench = Bench.NONE) -> UpstreamProblem:
    return UpstreamProblem(kind, _FIXED[kind], retry_after_ms=wait_ms, bench=bench)  # type: ignore[index]  # A number for an enum.


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
