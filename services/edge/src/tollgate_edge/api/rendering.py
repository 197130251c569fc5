"""How the console API says times, money and messages."""

from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import MessageToDict

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.routing.v1 import explanation_pb2 as routing
from tollgate_edge.errors import PublicError, public_error
from tollgate_rating import format_decimal


def parse_time(value: str, name: str) -> int:
    """Returns microseconds since the epoch of an ISO time; 0 for none."""
    if not value:
        return 0
    try:
        moment = datetime.fromisoformat(value)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise invalid(f"'{name}' must be a time such as 2026-11-01T00:00:00Z.", name) from None


def invalid(message: str, param: str) -> PublicError:
    """Returns the error of a field that is wrong."""
    return public_error(errors.ERROR_KIND_INVALID_REQUEST, message, param)


def render_time(at_us: int) -> str | None:
    """Returns the time in ISO form; None for never."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="milliseconds") if at_us else None


def render_money(name: str, pico: int | None) -> dict[str, Any]:
    """Returns the amount twice: for people as a decimal string, for programs in exact pico-units."""
    return {name: None if pico is None else format_decimal(pico), f"{name}_pico": pico}


def plain(message: Any) -> dict[str, Any]:
    """Returns a protobuf message as JSON can hold it, with numbers as numbers."""
    found: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return {name: _number(message, name, value) for name, value in found.items()}


def _number(message: Any, name: str, value: Any) -> Any:
    # Protobuf's JSON writes 64-bit numbers as strings.
    own = getattr(message, name, None)
    return own if isinstance(own, int) and isinstance(value, str) else value


def render_explanation(explanation: routing.Explanation) -> dict[str, Any]:
    """Returns an explanation as JSON can hold it, verdicts as words."""
    found: dict[str, Any] = MessageToDict(
        explanation, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for target in found["targets"]:
        target["verdict"] = target["verdict"].removeprefix("VERDICT_").lower()
    return found
