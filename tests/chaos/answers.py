"""What a caller may see while a product is broken around edge: whole answers, and errors that it can act on."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from tests.chaos.accidents import Accident
from tests.integration.traffic import Answer
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.error_table import TABLE

# A request may take so long; what has not come to its end a while later never does.
DEADLINE_SECONDS: Final = 60.0
# On a machine that other processes keep busy, and where one may stand still for four seconds.
GRACE_SECONDS: Final = 20.0
# What edge may say, by code. An error that nobody foresaw is no answer.
_STATUSES: Final = {entry.code: entry.status for entry in TABLE if entry.kind != errors.ERROR_KIND_INTERNAL}
_MEMBERS: Final = {"message", "type", "param", "code", "doc_url"}
_DONE: Final = b"[DONE]"
# `tollgate up` takes edge with it.
_ALL: Final = ("kill all", "kill the supervisor")


@dataclass(frozen=True, slots=True)
class Moment:
    """When an accident began and when it was over, on the clock of answers."""

    accident: Accident
    began: float
    over: float


def check_answers(answers: Sequence[Answer], moments: Sequence[Moment]) -> None:
    """Every answer is whole, or a known error of the shape that its caller reads, and came before its deadline.

    Not so where edge was the victim meanwhile, and where the caller left by itself. A whole JSON document that broke
    off in the middle because router, or the way to it, went away cannot be mended: the missing end tells it.
    """
    edge = list(_away("edge", answers, moments))
    router = list(_away("router", answers, moments))
    wrong = [
        f"{answer.call.kind} {answer.request_id} after {answer.ended - answer.began:.1f} s: {problem}"
        for answer in answers
        if not answer.call.leaves
        and not _within(answer, edge)
        and (problem := problem_of(answer))
        and not (_broke_off(answer) and _within(answer, router))
    ]
    assert not wrong, f"{len(wrong)} answers that are none, though edge was there: {wrong[:5]}"


def problem_of(answer: Answer) -> str:
    """Returns what is wrong with an answer, or nothing."""
    if answer.ended - answer.began > DEADLINE_SECONDS + GRACE_SECONDS:
        return "it came after its deadline"
    if not answer.whole:
        return f"it broke off with status {answer.status} and {len(answer.text)} bytes"
    if not answer.request_id:
        return "it names no request"
    if answer.status != 200:
        return _error_problem(answer.text, answer.status)
    if answer.call.stream:
        return _stream_problem(answer.text)
    return "" if isinstance(_json(answer.text), dict) else f"it is no JSON object: {answer.text[:100]!r}"


def _stream_problem(text: bytes) -> str:
    said = [line.removeprefix(b"data:").strip() for line in text.split(b"\n") if line.startswith(b"data:")]
    if not said or not text.endswith(b"\n\n"):
        return f"the stream has no end: {text[-100:]!r}"
    for place, one in enumerate(said):
        found = {} if one == _DONE else _json(one)
        if not isinstance(found, dict):
            return f"the stream says what is no JSON: {one[:100]!r}"
        if "error" in found:
            rest = said[place + 1 :]
            return _error_problem(one, 0) or ("" if rest in ([], [_DONE]) else "the stream goes on after its error")
    return "" if said[-1] == _DONE else f"the stream has no end: {text[-100:]!r}"


def _error_problem(text: bytes, status: int) -> str:
    found = _json(text)
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict) or not error.keys() >= _MEMBERS or not error["message"]:
        return f"an error {status} that is none of ours: {text[:200]!r}"
    known = _STATUSES.get(str(error["code"]))
    if known is None or status not in {0, known}:
        return f"an error {status} with the code {error['code']}: {text[:200]!r}"
    return ""


def _broke_off(answer: Answer) -> bool:
    return not answer.call.stream and answer.status == 200 and not answer.whole


def _away(service: str, answers: Sequence[Answer], moments: Sequence[Moment]) -> Iterator[tuple[float, float]]:
    """Yields when a service was a victim: from the accident until something asked afterwards was answered whole."""
    for moment in moments:
        if moment.accident.kind in _ALL or service in moment.accident.services:
            later = (one.ended for one in answers if one.answered and one.began >= moment.over)
            yield moment.began, min(later, default=inf)


def _within(answer: Answer, times: Sequence[tuple[float, float]]) -> bool:
    return any(answer.began <= end and answer.ended >= start for start, end in times)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
