"""What a provider says that we cost it, as it exports it, beside what our usage rows say; by day and model.

| format        | where it comes from                                                        | amounts |
|---------------|----------------------------------------------------------------------------|---------|
| OpenAI JSON   | `GET /v1/organization/costs`, best with `group_by=line_item`               | dollars |
| OpenAI CSV    | export of costs: `amount_value` with `start_time…`, `line_item` perhaps     | dollars |
| Anthropic JSON| `GET /v1/organizations/cost_report`, best with `group_by[]=description`    | cents   |
| Anthropic CSV | export of costs: `usage_date_utc`, `model`, `cost_usd`                     | dollars |

Names of models are compared without their dates and in one spelling, since an export says "Claude Haiku 4.5".
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from tollgate_billing.errors import InvalidQuery

MAX_BYTES: Final = 2 * 1024 * 1024
PROVIDERS: Final = ("openai", "anthropic")
_MAX_LINES: Final = 50_000
# Places before the point.
_MOST_PLACES: Final = 9
_PICO: Final = Decimal(10) ** 12
_CENTS: Final = Decimal(100)
_DATED: Final = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
_OTHER: Final = re.compile(r"[^a-z0-9]+")
_CURRENCY: Final = re.compile(r"[a-z]{3}")


class Cost(NamedTuple):
    """An amount of a statement, in pico-units; `model` is empty where it names none."""

    day: str
    model: str
    currency: str
    pico: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What both sides say of one day and model, in pico-units."""

    day: str
    model: str
    currency: str
    theirs_pico: int
    ours_pico: int


def plain_model(name: str) -> str:
    """Returns a model's name in the one spelling, without the date of its version."""
    dashed = _OTHER.sub("-", name.strip().lower()).strip("-")
    return _DATED.sub("", dashed)


def read_statement(provider: str, content: bytes) -> list[Cost]:
    """Returns the amounts of an export, JSON or CSV. Raises InvalidQuery, which says what is wrong and where."""
    if provider not in PROVIDERS:
        raise InvalidQuery(f"no statement of {provider!r} can be read; allowed: {', '.join(PROVIDERS)}")
    if len(content) > MAX_BYTES:
        raise InvalidQuery(f"a statement has at most {MAX_BYTES} bytes; export fewer days at once")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidQuery(f"the statement is no UTF-8: {error.reason} at byte {error.start}") from None
    lines = _json_costs(provider, text) if text.lstrip().startswith(("{", "[")) else _csv_costs(provider, text)
    found: list[Cost] = []
    for cost in lines:
        if len(found) == _MAX_LINES:
            raise InvalidQuery(f"a statement has at most {_MAX_LINES} amounts; export fewer days at once")
        found.append(cost)
    if not found:
        raise InvalidQuery("the statement has no amounts")
    return found


def compare_costs(theirs: Iterable[Cost], ours: Iterable[Cost]) -> list[Compared]:
    """Returns both sides by day and model; where the statement names no models on a day, by day alone."""
    statement = list(theirs)
    named = {(cost.day, bool(cost.model)) for cost in statement}
    whole_days = {day for day, has_model in named if not has_model and (day, True) not in named}
    days = {cost.day for cost in statement}
    sums: dict[tuple[str, str, str], list[int]] = {}
    for place, costs in enumerate((statement, ours)):
        for cost in costs:
            if cost.day in days:
                model = "" if cost.day in whole_days else plain_model(cost.model)
                sums.setdefault((cost.day, model, cost.currency), [0, 0])[place] += cost.pico
    return [Compared(*key, theirs_pico, ours_pico) for key, (theirs_pico, ours_pico) in sorted(sums.items())]


def _json_costs(provider: str, text: str) -> Iterator[Cost]:
    try:
        # Amounts stay the digits that were written.
        document = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError) as error:
        raise InvalidQuery(f"the statement is no JSON: {error}") from None
    pages = document if isinstance(document, list) else [document]
    for page in pages:
        buckets = page.get("data") if isinstance(page, dict) else None
        if not isinstance(buckets, list):
            raise InvalidQuery("the statement has no list 'data', as the provider's API answers it")
        for number, bucket in enumerate(buckets):
            where = f"data[{number}]"
            results = bucket.get("results") if isinstance(bucket, dict) else None
            if not isinstance(results, list):
                raise InvalidQuery(f"{where} has no list 'results'")
            for place, result in enumerate(results):
                at = f"{where}.results[{place}]"
                if not isinstance(result, dict):
                    raise InvalidQuery(f"{at} is no object")
                yield (_openai_result if provider == "openai" else _anthropic_result)(bucket, result, at)


def _openai_result(bucket: Mapping[str, Any], result: Mapping[str, Any], at: str) -> Cost:
    amount = result.get("amount")
    if not isinstance(amount, dict):
        raise InvalidQuery(f"{at} has no 'amount'")
    item = result.get("line_item")
    return Cost(
        _day(bucket.get("start_time"), at),
        _model_of_item(item if isinstance(item, str) else ""),
        _currency(amount.get("currency", "usd"), at),
        _pico(amount.get("value"), at),
    )


def _anthropic_result(bucket: Mapping[str, Any], result: Mapping[str, Any], at: str) -> Cost:
    model = result.get("model") or ""
    return Cost(
        _day(bucket.get("starting_at"), at),
        model if isinstance(model, str) else "",
        _currency(result.get("currency", "USD"), at),
        _pico(result.get("amount"), at, _CENTS),
    )


def _csv_costs(provider: str, text: str) -> Iterator[Cost]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    day = _column(columns, ("start_time_iso", "start_time", "usage_date_utc", "date"))
    amount = _column(columns, ("amount_value", "cost_usd"))
    currency = columns.get("amount_currency")
    model = columns.get("line_item" if provider == "openai" else "model") or columns.get("model")
    try:
        for row in reader:
            at = f"line {reader.line_num}"
            named = (row.get(model) or "") if model is not None else ""
            yield Cost(
                _day(row[day], at),
                _model_of_item(named) if provider == "openai" else named,
                _currency((row[currency] or "usd") if currency is not None else "usd", at),
                _pico(row[amount], at),
            )
    except csv.Error as error:
        raise InvalidQuery(f"line {reader.line_num}: {error}") from None


def _column(columns: Mapping[str, str | None], names: tuple[str, ...]) -> str:
    for name in names:
        if (found := columns.get(name)) is not None:
            return found
    raise InvalidQuery(f"the statement is neither JSON nor CSV with a column {' or '.join(names)}")


def _model_of_item(item: str) -> str:
    """Returns the model of a line item such as "gpt-4o-mini-2024-07-18, input"."""
    return item.partition(",")[0]


def _day(value: object, at: str) -> str:
    """Returns the UTC day of a time in seconds or in ISO form."""
    text = str(value).strip() if value is not None else ""
    try:
        if re.fullmatch(r"\d{9,10}(\.0+)?", text):
            moment = datetime.fromtimestamp(int(text.partition(".")[0]), UTC)
        else:
            parsed = datetime.fromisoformat(text)
            moment = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidQuery(f"{at}: {text[:40]!r} is no day") from None
    return moment.date().isoformat()


def _currency(value: object, at: str) -> str:
    text = str(value).strip().lower()
    if not _CURRENCY.fullmatch(text):
        raise InvalidQuery(f"{at}: {text[:40]!r} is no currency")
    return text.upper()


def _pico(value: object, at: str, divide: Decimal = Decimal(1)) -> int:
    """Returns an amount in pico-units; what is finer than those is rounded, since providers count in floats."""
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount.adjusted() >= _MOST_PLACES:
        raise InvalidQuery(f"{at}: {str(value)[:40]!r} is no amount")
    return int((amount / divide * _PICO).to_integral_value())
