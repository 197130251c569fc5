"""What whole replies say that they used, in the units of price books.

Providers meter these operations differently: a reply may lead to several usages, of which the first one counts that the
model's price has a word for.
"""

import re
from math import ceil
from typing import Annotated, Final

import msgspec
from msgspec import structs

from tollgate_rating import AUDIO_SECOND, CHARACTER, REQUEST, SEARCH
from tollgate_router.domain.upstream_errors import UpstreamProblem, problem_of_error, unreadable
from tollgate_router.domain.usage import ReplyUsage

_BYTES_PER_TOKEN: Final = 4
# Of speech that is not metered: a second has about fifteen characters, and about twenty tokens.
_CHARACTERS_PER_SECOND: Final = 15
_TOKENS_PER_SECOND: Final = 20
_SOUND_TOKENS_PER_SECOND: Final = 10
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=10**7)]
# The end of a cue, in subtitles of both kinds.
_CUE_END: Final = re.compile(rb"--> (?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})")

Read = tuple[ReplyUsage | None, bytes] | UpstreamProblem


class _Details(msgspec.Struct):
    audio_tokens: _Count = 0
    text_tokens: _Count = 0


class _SoundUsage(msgspec.Struct):
    """Of speech and transcripts: tokens, or seconds."""

    type: str = ""
    seconds: _Seconds = 0
    input_tokens: _Count = 0
    output_tokens: _Count = 0
    input_token_details: _Details | None = None
    output_token_details: _Details | None = None


class _Transcript(msgspec.Struct):
    text: str
    usage: msgspec.Raw = msgspec.Raw(b"null")
    duration: _Seconds | str | None = None


class _Billed(msgspec.Struct):
    search_units: _Seconds = 0
    input_tokens: _Seconds = 0


class _Meta(msgspec.Struct):
    billed_units: _Billed | None = None
    tokens: _Billed | None = None


class _Tokens(msgspec.Struct):
    total_tokens: _Count = 0


class _Ranked(msgspec.Struct):
    results: list[msgspec.Raw]
    meta: _Meta | None = None
    usage: _Tokens | None = None


class _Moderated(msgspec.Struct):
    results: list[msgspec.Raw]
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _Error(msgspec.Struct):
    error: object = None
    message: object = None


class _PromptTokens(msgspec.Struct):
    prompt_tokens: _Count = 0


_SOUND_USAGE: Final = msgspec.json.Decoder(_SoundUsage)
_TRANSCRIPT: Final = msgspec.json.Decoder(_Transcript)
_RANKED: Final = msgspec.json.Decoder(_Ranked)
_MODERATED: Final = msgspec.json.Decoder(_Moderated)
_ERROR: Final = msgspec.json.Decoder(_Error)
_PROMPT_TOKENS: Final = msgspec.json.Decoder(_PromptTokens)


def sound_usage(raw: bytes | msgspec.Raw) -> ReplyUsage | None:
    """Returns what the usage of speech or of a transcript says; None where it says nothing."""
    try:
        found = _SOUND_USAGE.decode(raw)
    except _BROKEN:
        return None
    if found.seconds:
        return ReplyUsage({AUDIO_SECOND: ceil(found.seconds)}, estimated=False)
    into, out = found.input_token_details or _Details(), found.output_token_details or _Details()
    heard, spoken = min(into.audio_tokens, found.input_tokens), min(out.audio_tokens, found.output_tokens)
    units = {
        "input": found.input_tokens - heard,
        "audio_input": heard,
        "output": found.output_tokens - spoken,
        "audio_output": spoken,
    }
    used = {name: quantity for name, quantity in units.items() if quantity}
    return ReplyUsage(used, estimated=False) if used else None


def spoken_usage(raw: bytes | msgspec.Raw) -> ReplyUsage | None:
    """Returns the usage of speech, whose tokens are sound where nothing else is said."""
    found = sound_usage(raw)
    if found is None or "output" not in found.units or "audio_output" in found.units:
        return found
    units = {"audio_output" if name == "output" else name: quantity for name, quantity in found.units.items()}
    return structs.replace(found, units=units)


def speech_estimate(text: str) -> ReplyUsage:
    """Returns what speech of a text uses: its characters exactly, or about so many tokens or seconds."""
    seconds = len(text) // _CHARACTERS_PER_SECOND + 1
    tokens = {"input": len(text.encode()) // _BYTES_PER_TOKEN + 1, "audio_output": seconds * _TOKENS_PER_SECOND}
    return ReplyUsage(
        {CHARACTER: len(text)},
        estimated=False,
        others=(ReplyUsage(tokens, estimated=True), ReplyUsage({AUDIO_SECOND: seconds}, estimated=True)),
    )


def sound_estimate(seconds: int) -> ReplyUsage:
    """Returns what a transcript of so many seconds uses where its reply does not say it."""
    tokens = {"audio_input": seconds * _SOUND_TOKENS_PER_SECOND, "output": seconds * _SOUND_TOKENS_PER_SECOND // 2}
    return ReplyUsage({AUDIO_SECOND: seconds}, estimated=True, others=(ReplyUsage(tokens, estimated=True),))


def read_transcript(body: bytes, seconds: int, form: str) -> Read:
    """Returns what a whole transcript used: by its usage, its duration, its last subtitle, or as `seconds` estimates.

    `form` is the format that the caller asked for.
    """
    if form in {"text", "srt", "vtt"} and not body.lstrip().startswith(b"{"):
        ends = list(_CUE_END.finditer(body[-4096:]))
        if not ends:
            return sound_estimate(seconds), body
        hours, minutes, rest, parts = (int(part or 0) for part in ends[-1].groups())
        return sound_estimate(max(1, hours * 3600 + minutes * 60 + rest + (parts > 0))), body
    try:
        found = _TRANSCRIPT.decode(body)
    except _BROKEN:
        return _problem(body)
    said = sound_usage(found.usage)
    if said is None and isinstance(found.duration, float) and found.duration:
        exact = ceil(found.duration)
        said = structs.replace(sound_estimate(exact), estimated=False)
    return said or sound_estimate(seconds), body


def ranking_estimate(size: int) -> ReplyUsage:
    """Returns what a rerank of so many bytes used that does not say it: at least one search, and tokens unknown."""
    return ReplyUsage({SEARCH: 1}, estimated=True, others=(_sized(size),))


def read_ranking(body: bytes) -> Read:
    """Returns what a whole rerank used: searches as Cohere bills, or tokens as Jina does."""
    try:
        found = _RANKED.decode(body)
    except _BROKEN:
        return _problem(body)
    billed = (found.meta.billed_units if found.meta is not None else None) or _Billed()
    counted = (found.meta.tokens if found.meta is not None else None) or _Billed()
    searches = ceil(billed.search_units)
    tokens = (found.usage.total_tokens if found.usage is not None else 0) or ceil(
        billed.input_tokens or counted.input_tokens
    )
    said = [{name: count} for name, count in ((SEARCH, searches), ("input", tokens)) if count]
    if not said:
        return ranking_estimate(len(body)), body
    usages = [ReplyUsage(units, estimated=False) for units in said]
    if not searches:
        usages.append(ReplyUsage({SEARCH: 1}, estimated=True))
    elif not tokens:
        usages.append(_sized(len(body)))
    return structs.replace(usages[0], others=tuple(usages[1:])), body


def _sized(size: int) -> ReplyUsage:
    return ReplyUsage({"input": size // _BYTES_PER_TOKEN + 1}, estimated=True)


def read_moderation(body: bytes) -> Read:
    """Returns what a moderation used: a request, or tokens where the reply counts them and they are priced."""
    try:
        found = _MODERATED.decode(body)
    except _BROKEN:
        return _problem(body)
    request = ReplyUsage({REQUEST: 1}, estimated=False)
    try:
        tokens = _PROMPT_TOKENS.decode(found.usage).prompt_tokens
    except _BROKEN:
        tokens = 0
    if tokens:
        return ReplyUsage({"input": tokens, REQUEST: 1}, estimated=False, others=(request,)), body
    return request, body


def _problem(body: bytes) -> UpstreamProblem:
    try:
        found = _ERROR.decode(body)
    except _BROKEN:
        return unreadable()
    if found.error is not None:
        return problem_of_error(found.error)
    return problem_of_error({"message": found.message}) if isinstance(found.message, str) else unreadable()
