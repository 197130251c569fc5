"""What a provider's refusal means by its own data: where the error is in the body, and what its codes and words say."""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_resources import ErrorPlaces, ErrorRule, Quirks
from tollgate_router.domain.quirks.places import Place
from tollgate_router.domain.upstream_errors import (
    NO_HINTS,
    Bench,
    Hints,
    UpstreamProblem,
    classify,
    error_said,
    overloaded,
    problem_of_kind,
    problem_of_reply,
)

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_PARAM: Final = r"""[`'"]?(?P<param>[A-Za-z_][A-Za-z0-9_.]*)[`'"]?"""
_KINDS: Final = {
    "rate_limit": errors.ERROR_KIND_UPSTREAM_RATE_LIMITED,
    "quota": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "auth": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "overloaded": errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    "context_length": errors.ERROR_KIND_CONTEXT_LENGTH,
    "content_policy": errors.ERROR_KIND_CONTENT_POLICY,
    "invalid_parameter": errors.ERROR_KIND_INVALID_REQUEST,
    "model_not_found": errors.ERROR_KIND_MODEL_NOT_FOUND,
    "too_large": errors.ERROR_KIND_PAYLOAD_TOO_LARGE,
    "timeout": errors.ERROR_KIND_UPSTREAM_TIMEOUT,
}
T = TypeVar("T")
_BENCHES: Final = {"quota": Bench.BALANCE, "auth": Bench.CREDENTIALS}


class _Rule(NamedTuple):
    means: str
    status: frozenset[int]
    code: frozenset[str]
    words: tuple[re.Pattern[str], ...]


class ErrorReading:
    """Reads errors of one provider. Without data it reads them as OpenAI's wire has them."""

    def __init__(self, quirks: Quirks) -> None:
        places = quirks.error
        self._at = tuple(map(Place, places.at))
        self._message = tuple(map(Place, places.message))
        self._code = tuple(map(Place, places.code))
        self._param = tuple(map(Place, places.param))
        self._fine = places.fine
        self._rules = tuple(map(_rule, quirks.errors))
        self._usual = quirks.error == ErrorPlaces() and not quirks.errors
        self.marks = tuple(f'"{place.name}"'.encode() for place in self._at)
        """What a reply with status 200 shows that may hold an error of this provider's own shape."""

    def of_reply(self, status: int, body: bytes, hints: Hints = NO_HINTS) -> UpstreamProblem:
        """Returns what a reply with another status than 200 means; the body may be anything at all."""
        if self._usual:
            return problem_of_reply(status, body, hints)
        try:
            found = msgspec.json.decode(body)
        except _BROKEN:
            found = None
        error = self._own(found) if isinstance(found, dict) else None
        if error is None:
            error = self._plain(error_said(body, hints))
        return self.means(status, error, hints.retry_after_ms)

    def again(self, found: T) -> T | UpstreamProblem:
        """Returns a problem that a wire's reader found in a good reply, as the provider's data knows it; else `found`.

        The readers know the wire only.
        """
        if self._usual or not isinstance(found, UpstreamProblem) or found.said is None:
            return found
        return self._ruled(_status_in(found.said), self._plain(found.said), 0) or found

    def within(self, found: dict[str, Any]) -> UpstreamProblem | None:
        """Returns the error that an object with status 200 holds: a whole reply or a chunk; None where it is none."""
        error = self._own(found)
        if error is None:
            said = found.get("error")
            if said is None:
                return None
            error = self._plain(said if isinstance(said, dict) else {**found, "message": said})
        return self.means(_status_in(error), error, 0)

    def means(self, status: int, error: dict[str, Any], wait_ms: int) -> UpstreamProblem:
        """Returns what an error means that has the members of OpenAI's wire. `status` is 0 where none was said."""
        return self._ruled(status, error, wait_ms) or classify(status, error, wait_ms)

    def _ruled(self, status: int, error: dict[str, Any], wait_ms: int) -> UpstreamProblem | None:
        """Returns what the first rule that fits says; None where none does."""
        words = str(error.get("message") or "")
        codes = {str(error[name]).lower() for name in ("code", "type") if error.get(name) is not None}
        for rule in self._rules:
            param = _fits(rule, status, codes, words)
            if param is not None:
                # Clients know the codes of the wire, which the kind stands for, and not the vendor's own.
                told = {**error, "param": error.get("param") or param, "code": None}
                problem = problem_of_kind(_KINDS[rule.means], told, wait_ms, _BENCHES.get(rule.means, Bench.NONE))
                return overloaded(problem) if rule.means == "overloaded" else problem
        return None

    def _own(self, found: dict[str, Any]) -> dict[str, Any] | None:
        for place in self._at:
            error = place.value(found)
            if isinstance(error, dict):
                plain = self._plain(error)
                return None if plain.get("code") in self._fine else plain
        return None

    def _plain(self, error: dict[str, Any]) -> dict[str, Any]:
        """Returns the error with its parts under the names of OpenAI's wire."""
        more: dict[str, Any] = {}
        if message := _first_text(self._message, error):
            more["message"] = message
        code = next((value for place in self._code if (value := place.value(error)) is not None), None)
        if code is not None:
            more["code"] = code
        if param := _first_param(self._param, error):
            more["param"] = param
        return {**error, **more} if more else error


def _rule(rule: ErrorRule) -> _Rule:
    words = tuple(
        re.compile(re.escape(text).replace(re.escape("{param}"), _PARAM, 1), re.IGNORECASE) for text in rule.words
    )
    return _Rule(rule.means, frozenset(rule.status), frozenset(code.lower() for code in rule.code), words)


def _fits(rule: _Rule, status: int, codes: set[str], words: str) -> str | None:
    """Returns None where a condition does not hold, else the parameter that the words name, or nothing."""
    if (rule.status and status not in rule.status) or (rule.code and not rule.code & codes):
        return None
    if not rule.words:
        return ""
    for pattern in rule.words:
        found = pattern.search(words)
        if found is not None:
            return str(found.groupdict().get("param") or "")
    return None


def _first_text(places: Iterable[Place], error: dict[str, Any]) -> str:
    return next((text for place in places if (text := place.text(error))), "")


def _first_param(places: Iterable[Place], error: dict[str, Any]) -> str:
    """Returns the name of a parameter, which some give as the way to it: ["body", "messages", 0, "role"]."""
    for place in places:
        value = place.value(error)
        if isinstance(value, list):
            steps = [str(step) for step in value if step != "body"]
            value = ".".join(steps)
        if isinstance(value, str) and value:
            return value
    return ""


def _status_in(error: dict[str, Any]) -> int:
    """Returns the status that a provider would have sent, where it says so in the error; else 0."""
    for name in ("status", "status_code", "code"):
        value = error.get(name)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
            return value
    return 0
