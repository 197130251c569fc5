"""`python -m benchmarks.routing`: what a choice costs, and what a version takes, as channels and routes grow."""

import argparse
import gc
import random
import resource
import time
from collections.abc import Sequence

from benchmarks.results import Results, add_option
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_resources import CatalogueModel, ChannelModel, Credential, Route, VersionChannel, VersionDocument
from tollgate_router.domain.candidates import Ask
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.secret import Secret
from tollgate_router.domain.snapshot import Snapshot, compile_snapshot
from tollgate_router.domain.walk import Walk

# Channels, routes of two levels with four targets, and models that every channel offers without a route.
SIZES = ((10, 10, 5), (100, 1_000, 20), (1_000, 10_000, 20))
CHOICES = 20_000
ROUNDS = 7


class Secrets:
    """Knows every secret."""

    def resolve(self, credential: Credential) -> Secret:
        """Returns a secret that is the name of its place."""
        return Secret(str(credential.env))


def document(channels: int, routes: int, models: int) -> VersionDocument:
    """Returns a version of this size."""
    offered = tuple(ChannelModel(name=f"m{number}", upstream=f"m{number}") for number in range(models))
    return VersionDocument(
        channels=tuple(
            VersionChannel(
                name=f"c{number}",
                provider="openai",
                base_url=f"https://h{number}.example/v1",
                credentials=(Credential(env=f"KEY_{number}"),),
                models=offered,
            )
            for number in range(channels)
        ),
        routes=tuple(_route(number, channels) for number in range(routes)),
        models=tuple(
            CatalogueModel(name=name, provider="openai", kind="")
            for name in [*(model.name for model in offered), *(f"r{number}" for number in range(routes))]
        ),
    )


def _route(number: int, channels: int) -> Route:
    first = [
        {"channel": f"c{(number * 7 + place) % channels}", "upstream": f"r{number}", "weight": place + 1}
        for place in range(3)
    ]
    second = [{"channel": f"c{number * 11 % channels}", "upstream": f"r{number}-b"}]
    return Route.model_validate({"model": f"r{number}", "levels": [{"targets": first}, {"targets": second}]})


def choice_us(snapshot: Snapshot, models: Sequence[str]) -> float:
    """Returns microseconds of processor for one choice and for telling health about the call, the best round."""
    source = random.Random(1)
    best = float("inf")
    for _ in range(ROUNDS):
        asked = [models[source.randrange(len(models))] for _ in range(CHOICES)]
        began = time.process_time()
        for model in asked:
            candidates = snapshot.route("default", model)
            assert candidates is not None
            walk = Walk(snapshot, model, candidates, lambda: Ask("default", "", {}), source)
            target = walk.first(1.0, wire.DIALECT_OPENAI_CHAT, 300)
            assert target is not None
            target.seat.succeeded(target.seat.begin(1.0, first=True), 1.0, 0.1)
        best = min(best, (time.process_time() - began) / CHOICES * 1e6)
    return best


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each size."""
    parser = argparse.ArgumentParser(prog="benchmarks.routing", description=__doc__)
    add_option(parser)
    options = parser.parse_args(arguments)
    results = Results("benchmarks.routing")
    print("channels  routes  models | in force   lists made  memory | choice: ten routes  all routes  no route")
    for channels, routes, models in SIZES:
        version, health = document(channels, routes, models), Health()
        gc.collect()
        began = time.process_time()
        snapshot = compile_snapshot(version, "sha256:0", Secrets(), health)
        compiled = time.process_time()
        snapshot.make_some(lambda: False)
        made = time.process_time()
        gc.collect()
        gc.freeze()
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        ten, every = ([f"r{number}" for number in range(count)] for count in (10, routes))
        costs = [choice_us(snapshot, names) for names in (ten, every, [f"m{number}" for number in range(models)])]
        results.add(
            "sizes",
            channels=channels,
            routes=routes,
            models=models,
            in_force_s=compiled - began,
            lists_s=made - compiled,
            memory_mb=memory_mb,
            choice_us=dict(zip(("ten routes", "all routes", "no route"), costs, strict=True)),
        )
        print(
            f"{channels:8} {routes:7} {models:7} | {compiled - began:6.2f} s   {made - compiled:8.2f} s "
            f"{memory_mb:4} MB |"
            f"{costs[0]:16.1f} us {costs[1]:8.1f} us {costs[2]:6.1f} us",
            flush=True,
        )
    results.write(options.json)


if __name__ == "__main__":
    main()
