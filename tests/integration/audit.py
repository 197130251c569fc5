"""Holds the product's books against each other and against those of the simulated provider, to the last unit."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.integration.product import Product
from tests.integration.traffic import IMAGE_QUALITY, IMAGE_SIZE, Answer
from tests.servers.process import ServerFailedError

from tollgate_resources import compile_version, environment_channels, load_catalogue, parse_version

COUNTED = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "reasoning": "reasoning_tokens",
    "images": "images",
}
AT_REST_SECONDS = 120.0
STEADY_SECONDS = 1.5
UNREADABLE = ("html", "malformed")


@dataclass(frozen=True, slots=True)
class Books:
    """What was added to every book, once nothing moved any more; `balance` is what stands at the end."""

    balance: Mapping[str, Any]
    spent_pico: int
    usage: Mapping[str, Any]
    status: Mapping[str, Any]
    new_rows: int
    rows: Sequence[Mapping[str, Any]]
    simulator: Sequence[Mapping[str, Any]]
    # What the product itself finds when it compares its books.
    compared: Mapping[str, Any]


class Auditor:
    """Reads a product's books before and after the requests made with `key`; nobody else may send any meanwhile.

    The key is of the demo's organization, or of another one's project. `steady_seconds`: how long nothing moves at
    rest, which is waited for at most `rest_seconds`.
    """

    def __init__(
        self,
        product: Product,
        organization_id: str = "",
        project_id: str = "",
        *,
        steady_seconds: float = STEADY_SECONDS,
        rest_seconds: float = AT_REST_SECONDS,
    ) -> None:
        self._product = product
        self._organization_id = organization_id
        self._steady_seconds = steady_seconds
        self._rest_seconds = rest_seconds
        self._wait(())
        self._ledger_pico = int(product.balance(organization_id)["ledger_pico"])
        self._rows = int(product.get("billing/status")["rows"])
        self._sequence = max((int(entry["seq"]) for entry in product.simulator_ledger()), default=0)
        owner = {"organization_id": organization_id, "project_id": project_id} if organization_id else {}
        made = product.create_key("audited", **owner)
        self._key_id = made["id"]
        self.key: str = made["key"]

    def close(self, request_ids: Iterable[str]) -> Books:
        """Waits until no money is under way and these requests are recorded, and reads what was added."""
        product = self._product
        self._wait(request_ids)
        balance, status = product.balance(self._organization_id), product.get("billing/status")
        return Books(
            balance=balance,
            spent_pico=self._ledger_pico - int(balance["ledger_pico"]),
            usage=product.usage(api_key_id=self._key_id, limit=1000),
            status=status,
            new_rows=int(status["rows"]) - self._rows,
            rows=product.requests(api_key_id=self._key_id),
            simulator=[entry for entry in product.simulator_ledger() if int(entry["seq"]) > self._sequence],
            compared=product.get("reconciliation"),
        )

    def _wait(self, request_ids: Iterable[str]) -> None:
        wait_at_rest(
            self._product,
            self._organization_id,
            request_ids,
            steady_seconds=self._steady_seconds,
            rest_seconds=self._rest_seconds,
        )


def wait_at_rest(
    product: Product,
    organization_id: str = "",
    request_ids: Iterable[str] = (),
    *,
    steady_seconds: float = STEADY_SECONDS,
    rest_seconds: float = AT_REST_SECONDS,
) -> None:
    """Waits until all is recorded and nothing has moved for longer than billing may look away from the log.

    What cost nothing is waited for as well: wallet and ledger agree before its rows are there.
    """
    wanted = set(request_ids)
    found: dict[str, Any] = {}

    def at_rest() -> bool:
        before = found.get("balance"), found.get("rows")
        found["balance"], status = product.balance(organization_id), product.get("billing/status")
        found["rows"] = status["rows"]
        found["waiting"] = (
            product.under_way()
            or int(status["lag_ms"])
            or int(status["lag_events"])
            or int(found["balance"]["held_pico"])
            or int(found["balance"]["settled_unbooked_pico"])
        )
        found["missing"] = wanted - {row["request_id"] for row in product.requests()} if wanted else ()
        # What was asked for last may not have been answered the time before.
        found.setdefault("since", time.monotonic())
        if found["waiting"] or found["missing"] or before != (found["balance"], found["rows"]):
            found["since"] = time.monotonic()
        return time.monotonic() - found["since"] > steady_seconds

    try:
        product.wait(at_rest, "every request to be recorded and no money to be held", rest_seconds)
    except ServerFailedError as error:
        raise ServerFailedError(f"{error}; found {found}") from None


def check_money(books: Books) -> None:
    """The wallet is the ledger, and what the ledger lost is the sum of the charges, of rows and of the store's sums."""
    balance = books.balance
    assert balance["wallet_pico"] == balance["ledger_pico"], balance
    assert int(balance["held_pico"]) == int(balance["settled_unbooked_pico"]) == 0, balance
    charged, total = sum(int(row["charge_pico"]) for row in books.rows), int(books.usage["total"]["charge_pico"])
    assert books.spent_pico == charged == total > 0, f"ledger {books.spent_pico}, rows {charged}, sums {total}"
    events = {row["event_id"] for row in books.rows}
    assert len(events) == len(books.rows) == books.new_rows, f"{len(events)} of {len(books.rows)}, {books.new_rows} new"
    assert (int(books.status["poison"]), int(books.status["mismatches"])) == (0, 0)
    assert books.compared["agree"], books.compared["differences"]
    assert books.compared["rows"] >= books.new_rows


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


def billed(entry: Mapping[str, Any]) -> dict[str, int]:
    """Returns the units that are paid for: a picture is paid by its tokens where the provider reports them."""
    units = {name: int(count) for name, count in entry["units"].items()}
    if units.get("image_output"):
        units.pop("images", None)
    return units


def check_units(books: Books) -> None:
    """What the provider counted for whole answers is what the rows of whole answers say, by model and unit."""
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in whole_entries(books):
        units = {COUNTED[name]: count for name, count in billed(entry).items() if name in COUNTED}
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
        units = billed(entry)
        if images := units.pop("images", 0):
            units[f"image:{IMAGE_SIZE}:{IMAGE_QUALITY}"] = images
        price = table.find(entry["model"], "", round(entry["at"] * 1e6))
        assert price is not None, entry["model"]
        expected += price.rate(units)
    charged = sum(int(row["charge_pico"]) for row in books.rows if row["outcome"] == "ok")
    assert charged == expected
