"""`python -m tests.chaos.faults [--minutes N] [--seed S]`: every fault of a provider at random, and the books audited.

Callers ask for one of a few models, whole and streamed; some go away. Each model has targets that fail in their own way
and, all but one, another behind them that does not. Breakers open and close all the time.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests.integration.fault_places import Providers, check_nothing_left, events_of
from tests.integration.faulty import FAULTS, RESETS, STALLS
from tests.integration.left_behind import Held, inside
from tests.integration.product import Product

MINUTES: Final = 10.0
CALLS: Final = 240
CLIENTS: Final = 16
_WAIT_SECONDS: Final = "2"
SETTINGS: Final = {
    "TOLLGATE_ROUTER_CONNECT_TIMEOUT_SECONDS": _WAIT_SECONDS,
    "TOLLGATE_ROUTER_FIRST_BYTE_TIMEOUT_SECONDS": _WAIT_SECONDS,
    "TOLLGATE_ROUTER_IDLE_TIMEOUT_SECONDS": _WAIT_SECONDS,
    "TOLLGATE_ROUTER_BREAKER_FAILURES": "3",
    "TOLLGATE_ROUTER_BREAKER_SECONDS": "1",
    "TOLLGATE_ROUTER_BENCH_SECONDS": "1",
    "TOLLGATE_ROUTER_KEEP_IDLE_SECONDS": "1",
}
WORDS: Final = (*FAULTS, *STALLS, *RESETS)
PLACES: Final = (
    *("closed", "full", "resetting", "no-tls", "closing-tls", "silent-tls", "strange-tls", "expired-tls"),
    *("misnamed-tls", "cut-tls", "stalled-tls", "closed-proxy", "refusing-proxy", "closing-proxy", "silent-proxy"),
)
# Its targets all fail.
HOPELESS: Final = "hopeless"
_PRICES: Final = {"input": "1", "output": "2"}
_CODES: Final = {200, 400, 429, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Ask:
    """One call. `leaves`: its caller goes away with the first bytes of the answer."""

    model: str
    word: str
    stream: bool
    leaves: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller got; `whole` is False when it went away itself."""

    ask: Ask
    request_id: str
    reply: httpx.Response
    whole: bool


def declared(providers: Providers) -> dict[str, Any]:
    """Returns channels and routes: a model for each place that fails, beside the one that fails by its prompt."""
    models = [f"beside-{place}" for place in PLACES]
    channels = [providers.channel(name, name, "*") for name in ("faulty", "well", *PLACES)]
    routes = []
    for model, place in zip(models, PLACES, strict=True):
        first = [{"channel": "faulty", "weight": 3}, {"channel": place, "weight": 1}]
        routes.append({"model": model, "levels": [{"targets": first}, {"targets": [{"channel": "well"}]}]})
    routes.append({"model": HOPELESS, "levels": [{"targets": [{"channel": "faulty"}, {"channel": "cut-tls"}]}]})
    for channel in channels:
        channel["models"] = [*models, HOPELESS]
    book = {"name": "public", "effective": "2026-01-01T00:00:00Z", "currency": "USD"}
    return {
        "channels": channels,
        "routes": routes,
        "price_books": [book | {"models": dict.fromkeys([*models, HOPELESS], _PRICES)}],
    }


def draw(source: random.Random) -> list[Ask]:
    """Returns the calls of a round."""
    models = [*(f"beside-{place}" for place in PLACES), HOPELESS]
    return [
        Ask(source.choice(models), source.choice(WORDS), source.random() < 0.5, source.random() < 0.1)
        for _ in range(CALLS)
    ]


class Soak:
    """A product with these providers, at rest between rounds."""

    def __init__(self, directory: Path) -> None:
        self.providers = Providers(directory)
        config = directory / "tollgate.yaml"
        config.write_text(json.dumps(declared(self.providers)), encoding="utf-8")
        self.product = Product(directory, ["--config", str(config)], SETTINGS)
        self._before: dict[str, Held] = {}

    def start(self) -> None:
        """Returns when it serves, and what is opened on first use is open."""
        self.product.start().api.headers["connection"] = "close"
        first = [Ask("beside-closed", "answers-html", stream, leaves=False) for stream in (False, True)]
        self.check(self.send(first))
        for name in ("edge", "router"):
            tasks = max(inside(self.product, name)["tasks"] for _ in range(20))
            self._before[name] = inside(self.product, name) | {"tasks": tasks}

    def stop(self) -> None:
        """Ends product and providers."""
        self.product.stop()
        self.providers.stop()

    def send(self, asks: Sequence[Ask]) -> list[Told]:
        """Sends calls, so many at a time, and returns what each caller got."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            return list(pool.map(self._send, asks))

    def _send(self, ask: Ask) -> Told:
        body = {"model": ask.model, "messages": [{"role": "user", "content": ask.word}], "stream": ask.stream}
        headers = {"authorization": f"Bearer {self.product.api_key}"}
        with (
            httpx.Client(headers=headers, timeout=120, trust_env=False) as client,
            client.stream("POST", f"{self.product.base_url}/chat/completions", json=body) as reply,
        ):
            content, whole = b"", True
            for piece in reply.iter_raw():
                content += piece
                self.providers.readers.has_read(ask.model)
                if ask.leaves:
                    whole = False
                    break
            told = httpx.Response(reply.status_code, headers=reply.headers, content=content)
            return Told(ask, reply.headers["x-request-id"], told, whole)

    def check(self, told: Sequence[Told]) -> Counter[str]:
        """Returns how often each outcome was told. Raises AssertionError for an answer or a book that is not right."""
        found = Counter(outcome_of(one) for one in told if one.whole)
        asked = {one.request_id for one in told}
        assert len(asked) == len(told)
        self.product.wait(lambda: asked <= {row["request_id"] for row in self.product.requests()}, "all rows")
        if self._before:
            check_nothing_left(self.product, self.providers, self._before)
        self.product.wait_settled()
        finals = Counter(row["request_id"] for row in self.product.requests() if row["final"])
        assert {one: finals[one] for one in asked} == dict.fromkeys(asked, 1)
        paid = {row["request_id"]: int(row["charge_pico"]) for row in self.product.requests() if row["final"]}
        for one in told:
            if one.whole and one.reply.status_code != 200:
                assert paid[one.request_id] == 0, one
            elif one.whole and '"error"' not in one.reply.text:
                assert paid[one.request_id] > 0, one
        books = self.product.get("reconciliation")
        assert books["agree"], books["differences"]
        spent = 100 * 10**12 - int(self.product.balance()["ledger_pico"])
        assert spent == sum(int(row["charge_pico"]) for row in self.product.requests())
        return found


def outcome_of(told: Told) -> str:
    """Returns the outcome in a word. Raises AssertionError for an answer that is no well-formed one."""
    reply = told.reply
    assert reply.status_code in _CODES, (told.ask, reply.status_code, reply.text)
    if reply.status_code != 200:
        return str(reply.json()["error"]["code"])
    if not told.ask.stream:
        assert reply.json()["choices"], told
        return "answered"
    *pieces, done = events_of(reply)
    assert done == "[DONE]", (told.ask, reply.text)
    last = json.loads(pieces[-1])
    assert all("error" not in json.loads(piece) for piece in pieces[:-1]), told
    return f"cut by {last['error']['code']}" if "error" in last else "answered"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 every round added up, 1 one did not."""
    parser = argparse.ArgumentParser(prog="chaos-faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"How long; {MINUTES:g}.")
    parser.add_argument("--seed", type=int, help="Repeats a run's calls; by default others each time.")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    directory = Path(tempfile.mkdtemp(prefix="tollgate-faults-"))
    print(f"seed {seed}, {options.minutes:g} minutes, everything is in {directory}", flush=True)
    soak = Soak(directory)
    began, number, total = time.monotonic(), 0, Counter[str]()
    try:
        soak.start()
        while time.monotonic() - began < options.minutes * 60:
            number += 1
            found = soak.check(soak.send(draw(random.Random(f"{seed}/{number}"))))
            total += found
            print(f"round {number}: {', '.join(f'{count} {name}' for name, count in found.most_common())}", flush=True)
    finally:
        soak.stop()
    print(f"all {number} rounds add up: {total.total()} answers, {total['answered']} of them whole")
    return 0


if __name__ == "__main__":
    sys.exit(main())
