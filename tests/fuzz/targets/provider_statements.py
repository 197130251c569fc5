"""A provider's export of costs: what is whole is added up exactly, and what is spoilt is refused with words."""

import json
import re
from fractions import Fraction
from random import Random
from typing import Final

from tests.fuzz.cases import Case, spoil
from tollgate_billing.domain.provider_costs import read_statement
from tollgate_billing.errors import InvalidQuery

_SPICES: Final = [
    *(b'"', b",", b"\n", b"\r", b"{", b"}", b"[", b"]", b"-", b".", b"e9", b"e999999", b"NaN", b"null", b"\xff", b"\0"),
    b"9" * 30,
]
_MODELS: Final = ["gpt-4o-2024-08-06", "Claude Haiku 4.5", "o3", 'a "quoted" one', "中文", ""]
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_PICO: Final = 10**12


class ProviderStatementsTarget:
    """An export in one of the four formats, whole or spoilt."""

    cost = 1

    def draw(self, source: Random) -> Case:
        amounts = [f"{source.randint(0, 10**6)}.{source.randint(0, 10**9):09d}" for _ in range(source.randint(1, 4))]
        provider = source.choice(["openai", "anthropic"])
        make = source.choice([_json, _csv])
        content = make(source, provider, amounts).encode()
        spoilt = spoil(source, content, _SPICES, most=3) if source.random() < 0.7 else content
        whole = spoilt == content
        cents = make is _json and provider == "anthropic"
        return {"provider": provider, "content": spoilt, "amounts": amounts if whole else [], "cents": cents}

    def check(self, case: Case) -> None:
        words, found = "", []
        try:
            found = read_statement(case["provider"], case["content"])
        except InvalidQuery as error:
            words = str(error)
        if words:
            assert not case["amounts"], f"a whole statement is refused: {words}"
            assert len(words) < 1000, "words that nobody can read"
            return
        assert found, "a statement of nothing"
        for cost in found:
            assert _DAY.fullmatch(cost.day), f"{cost.day!r} is no day"
            assert type(cost.pico) is int, "money is an integer"
            assert abs(cost.pico) <= 10**21, "an amount beyond all providers"
        if case["amounts"]:
            said = sum(map(Fraction, case["amounts"])) * _PICO / (100 if case["cents"] else 1)
            assert sum(cost.pico for cost in found) == said, "an amount is lost"

    def close(self) -> None:
        pass


def _json(source: Random, provider: str, amounts: list[str]) -> str:
    results = []
    for amount in amounts:
        model = source.choice(_MODELS)
        if provider == "openai":
            value = amount if source.random() < 0.5 else json.dumps(amount)
            results.append(f'{{"amount": {{"value": {value}, "currency": "usd"}}, "line_item": {json.dumps(model)}}}')
        else:
            results.append(f'{{"amount": "{amount}", "currency": "USD", "model": {json.dumps(model)}}}')
    start = '"start_time": 1730419200' if provider == "openai" else '"starting_at": "2024-11-01T00:00:00Z"'
    return f'{{"data": [{{{start}, "results": [{", ".join(results)}]}}]}}'


def _csv(source: Random, provider: str, amounts: list[str]) -> str:
    end = source.choice(["\n", "\r\n"])
    names = "start_time,amount_value,line_item" if provider == "openai" else "usage_date_utc,cost_usd,model"
    rows = [names]
    for amount in amounts:
        model = source.choice(_MODELS).replace('"', '""')
        day = "1730419200" if provider == "openai" else "2024-11-01"
        rows.append(f'{day},{amount},"{model}"')
    return end.join(rows) + end
