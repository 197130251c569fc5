"""How likely the words of an answer were: chat's `logprobs` and Gemini's `logprobsResult`."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.neutral import CHOICES, Odds, Request, choices_of

ODDS: Final = "logprobs"
"""What asks for them among a request's extra members; how many others are to be told stands beside it."""
MOST_OTHERS: Final = "top_logprobs"


def asks_odds(request: Request) -> bool:
    """Tells whether the answer's odds are asked for."""
    return request.knows_choices and bytes(request.extra.get(ODDS, b"false")) == b"true"


def members_of_chat(request: Request) -> dict[str, msgspec.Raw]:
    """Returns the extra members of a request that a chat of OpenAI's wire takes as they are."""
    names = (*((CHOICES,) if choices_of(request) > 1 else ()), *((ODDS, MOST_OTHERS) if asks_odds(request) else ()))
    return {name: request.extra[name] for name in names if name in request.extra}


def of_chat(said: object) -> tuple[Odds, ...]:
    """Returns what the `logprobs` of a choice say; what is none is passed over."""
    return tuple(_read(_list(said, "content"), "logprob", "top_logprobs"))


def as_chat(odds: tuple[Odds, ...]) -> dict[str, Any] | None:
    """Returns the `logprobs` of a choice."""
    if not odds:
        return None
    content = [
        {**_entry(one.token, one.logprob), "top_logprobs": [_entry(*other) for other in one.others]} for one in odds
    ]
    return {"content": content, "refusal": None}


def of_gemini(said: object) -> tuple[Odds, ...]:
    """Returns what a `logprobsResult` says."""
    top = _list(said, "topCandidates")
    chosen = _list(said, "chosenCandidates")
    merged = [
        {**one, "others": _list(top[place], "candidates") if place < len(top) else []} if isinstance(one, dict) else one
        for place, one in enumerate(chosen)
    ]
    return tuple(_read(merged, "logProbability", "others"))


def as_gemini(odds: tuple[Odds, ...]) -> dict[str, Any]:
    """Returns the members of a candidate that tell its odds; none where there are none."""
    if not odds:
        return {}
    total = sum(one.logprob for one in odds)
    result: dict[str, Any] = {
        "chosenCandidates": [{"token": one.token, "logProbability": one.logprob} for one in odds],
        "topCandidates": [
            {"candidates": [{"token": token, "logProbability": logprob} for token, logprob in one.others]}
            for one in odds
        ],
    }
    return {"avgLogprobs": total / len(odds), "logprobsResult": result}


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode(errors="replace"))}


def _read(entries: Iterable[object], number: str, others: str) -> Iterable[Odds]:
    for entry in entries:
        pair = _pair(entry, number)
        if pair is not None:
            rest = (_pair(other, number) for other in _list(entry, others))
            yield Odds(*pair, tuple(other for other in rest if other is not None))


def _pair(entry: object, number: str) -> tuple[str, float] | None:
    if not isinstance(entry, Mapping):
        return None
    token, logprob = entry.get("token"), entry.get(number)
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    return token, float(logprob)


def _list(holder: object, name: str) -> list[Any]:
    found = holder.get(name) if isinstance(holder, Mapping) else None
    return found if isinstance(found, list) else []
