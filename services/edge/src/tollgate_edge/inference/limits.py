"""What a request counts against its limits, and how these are said: headers of every answer, and the 429."""

from datetime import UTC, datetime
from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.domain.limits import budget_window
from tollgate_edge.errors import PublicError, public_error
from tollgate_edge.inference.fields import Asked
from tollgate_edge.ports import EdgeModel
from tollgate_holds import HoldResult, LimitSet, Scope
from tollgate_rating import format_decimal

_REQUESTS: Final = 1
_TOKENS: Final = 2
_BUDGET: Final = 4
# When a request that runs will end is not known: callers are told to ask again after this.
_SLOT_WAIT_MS: Final = 1000
_REQUEST_LINES: Final = (
    b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\nx-ratelimit-reset-requests: %b\r\n"
)
_TOKEN_LINES: Final = _REQUEST_LINES.replace(b"requests", b"tokens")
INSUFFICIENT: Final = public_error(errors.ERROR_KIND_INSUFFICIENT_QUOTA)
NO_WALLET: Final = public_error(
    errors.ERROR_KIND_UNAVAILABLE, "The balance is being rebuilt. Try again in a moment.", retry_after_ms=1000
)
_MONEY: Final = {HoldResult.INSUFFICIENT: INSUFFICIENT, HoldResult.NO_WALLET: NO_WALLET}
_BYTES_PER_TOKEN: Final = 4
# Counted for a request that sets no limit, until its end corrects it: most answers are shorter, and counting what the
# model could write at most would leave limits unused.
_USUAL_OUTPUT_TOKENS: Final = 1024


class Ticket:
    """A request's part in its limits. `tokens` were counted ahead; `verdict` is what `admit.lua` replies to a hold.

    `era` is 0 for one that Redis admitted; else this process did, while it held `amount_pico` (see `alone.py`).
    """

    __slots__ = ("amount_pico", "era", "limits", "tokens", "verdict")

    def __init__(self, limits: LimitSet, tokens: int) -> None:
        self.limits = limits
        self.tokens = tokens
        self.verdict: list[int] = []
        self.era = self.amount_pico = 0

    @property
    def second(self) -> int:
        """The second it was counted in, by Redis' clock; 0 when that is not known."""
        return self.verdict[1] if len(self.verdict) > 1 else 0

    def header_lines(self) -> bytes:
        """Returns `x-ratelimit-…` of the narrowest limit of requests and of tokens, as they are written."""
        verdict = self.verdict
        found = b""
        if len(verdict) < 9:
            return found
        scopes = self.limits.scopes
        if place := verdict[2]:
            found = _REQUEST_LINES % (scopes[place - 1].requests, verdict[3], spoken(verdict[4]))
        if place := verdict[5]:
            found += _TOKEN_LINES % (scopes[place - 1].tokens, verdict[6], spoken(verdict[7]))
        return found

    def headers(self) -> dict[str, str]:
        """Returns what `header_lines` says, by name."""
        return dict(line.split(": ", 1) for line in self.header_lines().decode().splitlines())

    def refusal(self, now_us: int) -> PublicError:
        """Returns what to say about a hold that was not placed: which limit of whom has no room, and when it will."""
        money = _MONEY.get(HoldResult(self.verdict[0]))
        if money is not None:
            return money
        kind, place, used, wait_ms = self.verdict[9:13]
        scope = self.limits.scopes[place - 1]
        whose = f"{scope.kind} {scope.id}"
        if kind == _BUDGET:
            return _over_budget(scope, whose, now_us)
        if kind == _REQUESTS:
            said = f"requests per minute of {whose}: limit {scope.requests}, used {used}, requested 1"
        elif kind == _TOKENS:
            said = f"tokens per minute of {whose}: limit {scope.tokens}, used {used}, requested {self.tokens}"
        else:
            said, wait_ms = f"concurrent requests of {whose}: limit {scope.slots}, open {used}", _SLOT_WAIT_MS
        if wait_ms < 0:
            error = public_error(
                errors.ERROR_KIND_RATE_LIMITED,
                f"Request too large for {said}. Shorten the input, or ask for fewer output tokens.",
            )
            return error.with_headers(**{"x-should-retry": "false"})
        return public_error(
            errors.ERROR_KIND_RATE_LIMITED,
            f"Rate limit reached for {said}. Please try again in {-(-wait_ms // 1000)}s.",
            retry_after_ms=wait_ms,
        )


def _over_budget(scope: Scope, whose: str, now_us: int) -> PublicError:
    window = budget_window(scope.budget_window, now_us)
    said = f"The budget of {whose} has too little left for this request: {format_decimal(scope.budget_pico)}"
    if not window.end_us:
        return public_error(errors.ERROR_KIND_INSUFFICIENT_QUOTA, f"{said} in total.")
    reset = datetime.fromtimestamp(window.end_us // 1_000_000, UTC)
    error = public_error(
        errors.ERROR_KIND_INSUFFICIENT_QUOTA,
        f"{said} a {scope.budget_window}. It begins anew at {reset:%Y-%m-%dT%H:%M:%SZ}.",
    )
    return error.with_headers(**{"retry-after": str(-(-(window.end_us - now_us) // 1_000_000))})


def expected_tokens(body_bytes: int, asked: Asked, model: EdgeModel | None) -> int:
    """Returns what a request is counted as ahead: a usual text of its size, and the output that it allows.

    An input is never longer than the model's context, whatever its bytes are, such as those of a picture.
    """
    prompt = body_bytes // _BYTES_PER_TOKEN + 1
    if model is not None and model.context:
        prompt = min(prompt, model.context)
    output = asked.max_output_tokens
    if output is None:
        output = _USUAL_OUTPUT_TOKENS
        if model is not None and model.max_output:
            output = min(output, model.max_output)
    return prompt + output * asked.choices


def tokens_of(usage: wire.Usage) -> int:
    """Returns all tokens of a request, in and out, cached ones included."""
    return (
        usage.input_tokens
        + usage.output_tokens
        + usage.cache_read_tokens
        + usage.cache_write_5m_tokens
        + usage.cache_write_1h_tokens
        + usage.reasoning_tokens
        + usage.audio_input_tokens
        + usage.audio_output_tokens
        + usage.image_input_tokens
        + usage.image_output_tokens
    )


def spoken(wait_ms: int) -> bytes:
    """Returns a time such as `6m0s`, in whole seconds, rounded up."""
    minutes, seconds = divmod(-(-wait_ms // 1000), 60)
    return b"%dm%ds" % (minutes, seconds) if minutes else b"%ds" % seconds
