"""Whether a request costs more when there are many keys, or many channels and routes: small and large, in turns."""

import contextlib
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import sqlalchemy as sa

from benchmarks.machine import spread
from benchmarks.processes import proportional_bytes
from benchmarks.product import MODEL, Product, running, write_channel
from benchmarks.results import Results
from benchmarks.workloads import SMALL, Bench
from tollgate_edge.adapters.files import read_peppers
from tollgate_edge.adapters.sql import tables
from tollgate_edge.domain.keys import KEY_PREFIX, keyed_hash, last_four, new_key

PAIRS = 7
KEYS = (10, 100_000)
# Channels and routes.
CHANNELS = ((10, 10), (1_000, 10_000))
A_FILE = 2_500
A_ROUND = SMALL.requests
# Keys that are not remembered are looked up so often in a second, as many at once as wait: only the warm-up asks.
READS = {"TOLLGATE_EDGE_KEY_READS_PER_SECOND": "1000"}
WARM_LOOP = {"connections": 64, "limit": 900}
WARM_REQUESTS = A_ROUND
START_REQUESTS = 60


def keys(bench: Bench, results: Results) -> None:
    """Prints the ratio of a request's cost with 100,000 keys to that with ten: ten of them in turn, and all."""
    config = write_channel(bench.directory, bench.upstream.port)
    first = bench.directory / "keys"
    with running(first, config) as product:
        product.chat()
    made: list[list[str]] = []
    homes = [first.with_name(f"keys-{count}") for count in KEYS]
    for home, count in zip(homes, KEYS, strict=True):
        shutil.copytree(first, home, ignore=shutil.ignore_patterns("*.sock"))
        made.append(_add_keys(home, count))
    with running(homes[0], config, **READS) as few, running(homes[1], config, **READS) as many:
        every = made[1]
        # So that all are remembered before any of them counts.
        bench.load(many.subject(), SMALL, len(every), keys=every, **WARM_LOOP)
        some = random.Random(1).sample(every, A_ROUND)
        print(f"\nKeys, {PAIRS} pairs: us of processor a request, and the ratios of the pairs")
        products = (few, many)
        _print_ratios(bench, results, "ten of 100,000 keys", products, [{"keys": made[0]}, {"keys": every[:10]}])
        _print_ratios(bench, results, "3,000 of 100,000 keys in turn", products, [{"keys": made[0]}, {"keys": some}])
        sizes = [sum(map(proportional_bytes, product.pids("edge"))) for product in products]
    results.add("growth memory", what="keys", edge=sizes)
    print(
        f"  edge holds {sizes[0] / 1e6:.0f} MB with {KEYS[0]}, {sizes[1] / 1e6:.0f} MB with all remembered", flush=True
    )


def channels(bench: Bench, results: Results) -> None:
    """Prints the ratio of a request's cost with 1,000 channels and 10,000 routes to that with ten of each."""
    with contextlib.ExitStack() as stack:
        products = []
        for number, (count, routes) in enumerate(CHANNELS):
            config = bench.directory / f"declared-{number}"
            write_files(config, declared(bench, count, routes))
            product = stack.enter_context(running(bench.directory / f"channels-{number}", config))
            _wait_for(product, model_name(routes - 1))
            products.append(product)
        ten = [model_name(number) for number in range(10)]
        some = [model_name(number) for number in random.Random(1).sample(range(CHANNELS[1][1]), A_ROUND)]
        print(f"\nChannels and routes, {PAIRS} pairs: us of processor a request, and the ratios of the pairs")
        title = "ten of 10,000 routes, 1,000 channels"
        _print_ratios(bench, results, title, products, [{"models": ten}, {"models": ten}])
        title = "3,000 of 10,000 routes in turn, 1,000 channels"
        _print_ratios(bench, results, title, products, [{"models": ten}, {"models": some}])
        sizes = [sum(map(proportional_bytes, product.pids("router"))) for product in products]
    results.add("growth memory", what="channels", router=sizes)
    held = [f"{size / 1e6:.0f} MB" for size in sizes]
    print(f"  router holds {held[0]} with {CHANNELS[0][0]}, {held[1]} with all", flush=True)


def _print_ratios(
    bench: Bench, results: Results, title: str, products: Sequence[Product], asked: Sequence[Mapping[str, Any]]
) -> None:
    """Prints what each costs and the ratios of the pairs, large over small. Who begins a pair alternates."""
    for product, more in zip(products, asked, strict=True):
        bench.load(product.subject(), SMALL, WARM_REQUESTS, **more)
    costs: list[list[float]] = [[], []]
    for number in range(PAIRS):
        for place in (0, 1) if number % 2 == 0 else (1, 0):
            costs[place].append(bench.round(products[place], SMALL, **asked[place]).path)
        small, large = costs[0][-1], costs[1][-1]
        results.add("growth", what=title, round=number, small=small, large=large)
    ratios = [large / small for small, large in zip(*costs, strict=True)]
    print(
        f"  {title:<46} {median(costs[0]):.0f} -> {median(costs[1]):.0f}"
        f"   {spread(ratios, 2).strip()}: {' '.join(f'{ratio:.2f}' for ratio in ratios)}",
        flush=True,
    )


def _add_keys(home: Path, count: int) -> list[str]:
    """Writes keys into the database of an edge that does not run, as it would itself; returns them."""
    source = random.Random(count)
    pepper = read_peppers(home / "edge" / "pepper", source.randbytes)[0]
    engine = sa.create_engine(f"sqlite:///{home / 'edge' / 'edge.sqlite'}")
    made = [new_key(KEY_PREFIX, source.randbytes) for _ in range(count)]
    with engine.begin() as connection:
        first = connection.execute(sa.select(tables.api_keys)).mappings().first()
        assert first is not None
        connection.execute(
            tables.api_keys.insert(),
            [
                dict(first)
                | {
                    "id": f"{first['id']}-{number}",
                    "name": f"key {number}",
                    "key_hash": keyed_hash(key.reveal().encode(), pepper),
                    "last_four": last_four(key),
                }
                for number, key in enumerate(made)
            ],
        )
    engine.dispose()
    return [key.reveal() for key in made]


def declared(bench: Bench, count: int, routes: int) -> dict[str, list[Any]]:
    """Returns a configuration of channels to the upstream, and of routes with two levels and four targets."""
    secret = bench.directory / "upstream.key"
    secret.write_text("sk-bench\n")
    return {
        "channels": [
            {
                "name": f"c{number}",
                "provider": "openai",
                "base_url": f"http://127.0.0.1:{bench.upstream.port}/v1",
                "credentials": [{"file": str(secret)}],
                "models": [MODEL],
                "private_network": True,
            }
            for number in range(count)
        ],
        "routes": [_route(number, count) for number in range(routes)],
        "price_books": [
            {
                "name": "public",
                "effective": "2026-01-01T00:00:00Z",
                "currency": "USD",
                "models": {model_name(number): {"input": "0.25", "output": "2"} for number in range(routes)},
            }
        ],
    }


def write_files(folder: Path, parts: Mapping[str, Sequence[Any]], most: int = A_FILE) -> None:
    """Writes a configuration as files of at most so many entries each: a file may not have too many values."""
    folder.mkdir()
    for kind, entries in parts.items():
        for first in range(0, len(entries), most):
            text = json.dumps({kind: entries[first : first + most]})
            (folder / f"{kind}-{first:05}.yaml").write_text(text)


def _route(number: int, count: int) -> dict[str, Any]:
    first = [
        {"channel": f"c{(number * 7 + place) % count}", "upstream": MODEL, "weight": place + 1} for place in range(3)
    ]
    second = [{"channel": f"c{(number * 7 + 3) % count}", "upstream": MODEL}]
    return {"model": model_name(number), "levels": [{"targets": first}, {"targets": second}]}


def model_name(number: int) -> str:
    """Returns a model of a route; all are of equal length."""
    return f"r{number:05}"


def _wait_for(product: Product, model: str) -> None:
    """Asks until a model is known: a large file is read beside the start. Raises RuntimeError after many tries."""
    asked = {"model": model, "messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 16}
    for _ in range(START_REQUESTS):
        status, body = product.call("POST", "/v1/chat/completions", product.api_key, asked)
        if status == 200:
            return
    raise RuntimeError(f"the product answered {status}: {body}")
