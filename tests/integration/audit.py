"""Holds the product's books against each other and against those of the simulated provider, to the last unit."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.integration.product import Product
from tests.integration.traffic import IMAGE_QUALITY, IMAGE_SIZE, Answer
from tests.servers.process import ServerFailedError, wait_until

from tollgate_resources import compile_version, environment_channels, load_catalogue, parse_version

GRANT_PICO = 100 * 10**12
COUNTED = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "reasoning": "reasoning_tokens",
    "images": "images",
}
AT_REST_SECONDS = 120.0
UNREADABLE = ("html", "malformed")


@dataclass(frozen=True, slots=True)
class Books:
    """Every book as it stood when nothing moved any more."""

    balance: Mapping[str, Any]
    usage: Mapping[str, Any]
    status: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    simulator: Sequence[Mapping[str, Any]]


def close_books(product: Product, request_ids: Iterable[str], seconds: float = AT_REST_SECONDS) -> Books:
    """Waits until no money is under way and every request is recorded, and reads all books."""
    wanted = set(request_ids)
    found: dict[str, Any] = {}

    def at_rest() -> bool:
        balance = product.balance()
        found["balance"] = balance
        found["missing"] = sorted(wanted - {row["request_id"] for row in product.requests()})
        return not (int(balance["held_pico"]) or int(balance["settled_unbooked_pico"]) or found["missing"])

    try:
        wait_until(at_rest, "every request to be recorded and no money to be held", seconds, pause=0.5)
    except ServerFailedError as error:
        raise ServerFailedError(f"{error}; found {found}") from None
    return Books(
        product.balance(),
        product.usage(limit=1000),
        product.get("billing/status"),
        product.requests(),
        product.simulator_ledger(),
    )


def check_money(books: Books) -> None:
    """The wallet is the ledger, and what is missing of the grant is the sum of the charges, in rows and in sums."""
    balance = books.balance
    assert balance["wallet_pico"] == balance["ledger_pico"]
    assert int(balance["held_pico"]) == int(balance["settled_unbooked_pico"]) == 0
    charged = sum(int(row["charge_pico"]) for row in books.rows)
    assert GRANT_PICO - int(balance["ledger_pico"]) == charged == int(books.usage["total"]["charge_pico"]) > 0
    assert len({row["event_id"] for row in books.rows}) == len(books.rows) == int(books.status["rows"])
    assert (int(books.status["poison"]), int(books.status["mismatches"])) == (0, 0)


def check_answers(books: Books, answers: Sequence[Answer]) -> None:
    """Every request that was answered is charged once; one that was refused costs nothing."""
    finals = charged_finals(books.rows)
    for answer in answers:
        if answer.answered:
            assert [int(row["charge_pico"]) > 0 for row in finals[answer.request_id]] == [True], answer.request_id
        elif answer.whole and answer.status != 200:
            assert not any(int(row["charge_pico"]) for row in finals[answer.request_id]), answer.request_id


def check_replies(books: Books, answers: Sequence[Answer]) -> None:
    """The tokens that a caller was told of are those that it was charged for."""
    finals = charged_finals(books.rows)
    for answer in answers:
        if answer.answered and answer.call.kind == "chat":
            told = json.loads(answer.text)["usage"]
            (row,) = finals[answer.request_id]
            assert told["prompt_tokens"] == int(row["input_tokens"]) + int(row["cache_read_tokens"])
            assert told["completion_tokens"] == int(row["output_tokens"]) + int(row["reasoning_tokens"])


def charged_finals(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Returns the finals that stand for each request: those that cost something and no adjustment took back."""
    found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    taken = Counter[tuple[str, int]]()
    for row in rows:
        if row["kind"] == "adjustment":
            taken[row["request_id"], -int(row["charge_pico"])] += 1
    for row in rows:
        key = (row["request_id"], int(row["charge_pico"]))
        if row["kind"] != "usage" or not row["final"] or not int(row["charge_pico"]):
            continue
        if taken[key]:
            taken[key] -= 1
        else:
            found[row["request_id"]].append(row)
    return found


def whole_entries(books: Books) -> list[Mapping[str, Any]]:
    """Returns the provider's entries of answers that were sent to their end and could be read."""
    return [entry for entry in books.simulator if entry["outcome"] == "completed" and entry["faults"] not in UNREADABLE]


def check_units(books: Books) -> None:
    """What the provider counted for whole answers is what the rows of whole answers say, by model and unit."""
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in whole_entries(books):
        units = {COUNTED[name]: count for name, count in entry["units"].items() if name in COUNTED}
        counted[entry["model"]].update(units | {"requests": 1})
    recorded: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in books.rows:
        if row["outcome"] == "ok" and row["final"] and row["kind"] == "usage":
            units = {name: int(row[name]) for name in COUNTED.values() if int(row[name])}
            recorded[row["upstream_model"]].update(units | {"requests": 1})
    assert {model: dict(units) for model, units in recorded.items()} == {
        model: dict(units) for model, units in counted.items()
    }


def check_prices(books: Books, simulator_url: str) -> None:
    """What the provider counted, at the prices that ship, is what was charged for whole answers."""
    catalogue = load_catalogue()
    declared = environment_channels({}, catalogue, f"{simulator_url}/v1")
    table = parse_version(compile_version(declared, catalogue)).price_table()
    expected = 0
    for entry in whole_entries(books):
        units = dict(entry["units"])
        if images := units.pop("images", 0):
            units[f"image:{IMAGE_SIZE}:{IMAGE_QUALITY}"] = images
        price = table.find(entry["model"], "", round(entry["at"] * 1e6))
        assert price is not None, entry["model"]
        expected += price.rate(units)
    charged = sum(int(row["charge_pico"]) for row in books.rows if row["outcome"] == "ok")
    assert charged == expected
