"""What the hot path says when it refuses: built once, since refusals come in floods."""

from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.errors import PublicError, public_error
from tollgate_edge.inference.limits import INSUFFICIENT, NO_WALLET, Ticket
from tollgate_holds import HoldResult
from tollgate_rating import MAX_CHARGE_PICO, NoRate, format_decimal

STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %s\r\n" % (status, phrase)
    for status, phrase in {
        200: b"OK",
        400: b"Bad Request",
        401: b"Unauthorized",
        402: b"Payment Required",
        403: b"Forbidden",
        404: b"Not Found",
        405: b"Method Not Allowed",
        408: b"Request Timeout",
        409: b"Conflict",
        413: b"Content Too Large",
        415: b"Unsupported Media Type",
        422: b"Unprocessable Content",
        429: b"Too Many Requests",
        431: b"Request Header Fields Too Large",
        499: b"Client Closed Request",
        500: b"Internal Server Error",
        502: b"Bad Gateway",
        503: b"Service Unavailable",
        504: b"Gateway Timeout",
        529: b"Site is overloaded",
    }.items()
}


class Words:
    no_key = "No API key was given. Send it as 'Authorization: Bearer YOUR_KEY'."
    bad_http = "The HTTP request is malformed."
    no_calls = "An access token manages the gateway. Call models with an API key."
    no_upgrade = "This path does not upgrade to another protocol."
    broke_off = public_error(
        errors.ERROR_KIND_UPSTREAM_CUT,
        "The answer broke off before its end. What was delivered is charged; send the request again for the rest.",
    )
    outcome_unknown = public_error(
        errors.ERROR_KIND_UPSTREAM_CUT,
        "A part of the gateway was lost while the provider may have been at work, and this kind of request is not sent "
        "twice by itself. Send it again, if a second result does no harm.",
        code="provider_outcome_unknown",
    )
    out_of_time = public_error(errors.ERROR_KIND_DEADLINE)
    no_router = "The gateway is not ready to serve. Try again in a moment."

    def __init__(self, *, max_body_bytes: int, max_header_bytes: int) -> None:
        self.too_large = public_error(
            errors.ERROR_KIND_PAYLOAD_TOO_LARGE, f"The request body is larger than {max_body_bytes} bytes."
        )
        self.no_memory = public_error(
            errors.ERROR_KIND_UNAVAILABLE, "The gateway holds too many request bodies. Try again.", retry_after_ms=1000
        )
        self.not_json = public_error(
            errors.ERROR_KIND_INVALID_REQUEST, "Content-Type must be application/json.", code="unsupported_media_type"
        )
        self.no_form = public_error(
            errors.ERROR_KIND_INVALID_REQUEST,
            "Content-Type must be multipart/form-data, with the file as 'file'.",
            code="unsupported_media_type",
        )
        self.method_not_allowed = public_error(
            errors.ERROR_KIND_INVALID_REQUEST, "This path takes POST only.", code="method_not_allowed"
        ).with_headers(allow="POST")
        self.draining = public_error(
            errors.ERROR_KIND_UNAVAILABLE,
            "This process of the gateway is stopping. Send the request again.",
            retry_after_ms=1000,
        )
        self.too_slow = public_error(
            errors.ERROR_KIND_INVALID_REQUEST, "The request did not arrive in time.", code="request_timeout"
        )
        self.headers_too_large = public_error(
            errors.ERROR_KIND_INVALID_REQUEST,
            f"The request headers are larger than {max_header_bytes} bytes.",
            code="headers_too_large",
        )
        self._unverified = public_error(
            errors.ERROR_KIND_UNAVAILABLE,
            "Spending cannot be checked now, and what may be spent meanwhile is used up. Try again in a moment.",
            retry_after_ms=1000,
        )
        self._no_redis = public_error(
            errors.ERROR_KIND_UNAVAILABLE, "The balance cannot be checked now. Try again.", retry_after_ms=1000
        )

    @staticmethod
    def no_price(model: str, unit: str = "") -> PublicError:
        """Returns what to say about a model that nobody has set a price for, or none for a unit that it may use."""
        what = f"has no price for '{unit}', which this request may use, so it" if unit else "has no price, so it"
        remedy = "An operator sets one in a price book; 0 is a price."
        if unit:
            remedy = f"Leave out what may use it, ask another model, or have an operator set a price for '{unit}'."
        return public_error(
            errors.ERROR_KIND_MODEL_NOT_FOUND,
            f"The model '{model}' {what} is not served. {remedy}",
            "model",
            "model_not_priced",
        )

    @staticmethod
    def too_dear(model: str, most_pico: int) -> PublicError:
        """Returns what to say about a request whose worst case is beyond what one request may cost."""
        return public_error(
            errors.ERROR_KIND_INVALID_REQUEST,
            f"The request to '{model}' may cost {format_decimal(most_pico)}, and one request may cost "
            f"{format_decimal(MAX_CHARGE_PICO)} at most. Ask for a shorter answer, or for fewer at once.",
            code="request_too_dear",
        )

    @staticmethod
    def no_rate(error: NoRate) -> PublicError:
        """Returns what to say to an organization that pays in a currency to which prices cannot be converted now."""
        return public_error(
            errors.ERROR_KIND_UNAVAILABLE,
            f"The organization pays in {error.quote}, and {error}, so nothing is served that is priced in "
            f"{error.base}. An operator declares one under exchange_rates.",
            code="no_exchange_rate",
        )

    def admission(self, result: HoldResult | None, ticket: Ticket | None, now_us: int) -> PublicError:
        """Returns what to say about a hold that was not placed."""
        if ticket is not None and result in {HoldResult.LIMITED, HoldResult.OVER_BUDGET}:
            return ticket.refusal(now_us)
        if result is HoldResult.UNVERIFIED:
            return self._unverified
        if result is HoldResult.INSUFFICIENT:
            return INSUFFICIENT
        return self._no_redis if result is None else NO_WALLET
