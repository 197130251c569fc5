"""Snapshots as a configuration file would make them, without files and without an environment."""

import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_resources import (
    CatalogueModel,
    Credential,
    Declared,
    PriceBook,
    Provider,
    build_catalogue,
    compile_version,
    digest,
    load_catalogue,
    parse_version,
)
from tollgate_router.domain.candidates import Ask
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.openai_chat import plain_body, read_body
from tollgate_router.domain.secret import Secret
from tollgate_router.domain.sending import Sending
from tollgate_router.domain.snapshot import Snapshot, compile_snapshot
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import Hints, UpstreamProblem, problem_of_reply
from tollgate_router.domain.walk import Walk
from tollgate_router.errors import CredentialMissing

CHAT = 1
CATALOGUE = build_catalogue(
    [
        Provider(name="openai", base_url="https://api.example/v1", conforming=True),
        Provider(name="free", base_url="http://10.0.0.1/v1", credentials_required=False),
        *(load_catalogue().providers[name] for name in ("gemini", "anthropic", "jina")),
    ],
    [
        CatalogueModel(name="able", provider="openai", context_tokens=100_000, abilities=("tools", "image_input")),
        CatalogueModel(name="small", provider="openai", context_tokens=1_000, abilities=("tools",)),
        CatalogueModel(name="plain", provider="openai", abilities=()),
        CatalogueModel(name="brief", provider="openai", max_output_tokens=50),
    ],
    [
        PriceBook.model_validate(
            {
                "name": "catalogue",
                "effective": "2026-01-01T00:00:00Z",
                "currency": "USD",
                "models": {
                    "able": {"input": "2", "output": "4"},
                    "small": {"input": "0.5", "output": "1"},
                    "dear": {"input": "20", "output": "40"},
                },
            }
        )
    ],
)
AT_US = 1_800_000_000_000_000


class Environment:
    """Holds secrets by the name of a variable."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = dict(values)

    def resolve(self, credential: Credential) -> Secret:
        """Returns the secret. Raises CredentialMissing."""
        if credential.env is None or credential.env not in self.values:
            raise CredentialMissing(f"environment variable {credential.env} is empty or not there")
        return Secret(self.values[credential.env])


def channel(name: str, *models: Any, keys: int = 1, **more: Any) -> dict[str, Any]:
    """Returns the declaration of a channel with so many credentials, KEY_<name>_<number>."""
    places = [{"env": f"KEY_{name.replace('-', '_')}_{number}"} for number in range(keys)]
    return {"name": name, "provider": "openai", "credentials": places, "models": list(models) or ["able"], **more}


def route(model: str, *levels: Iterable[Any], **more: Any) -> dict[str, Any]:
    """Returns the declaration of a route; a target is the name of a channel, a pair with its weight, or whole."""
    return {"model": model, "levels": [{"targets": [_target(one) for one in level]} for level in levels], **more}


def _target(one: Any) -> dict[str, Any]:
    if isinstance(one, str):
        return {"channel": one}
    return {"channel": one[0], "weight": one[1]} if isinstance(one, tuple) else dict(one)


def snapshot(
    channels: Iterable[dict[str, Any]],
    routes: Iterable[dict[str, Any]] = (),
    *,
    health: Health | None = None,
    missing: Iterable[str] = (),
) -> Snapshot:
    """Returns the snapshot of a version with these channels and routes; `missing` names credentials without secret."""
    declared = Declared.model_validate({"channels": list(channels), "routes": list(routes)})
    document = compile_version(declared, CATALOGUE)
    places = [place.env for one in declared.channels for place in one.credentials if place.env is not None]
    secrets = Environment({place: f"secret-{place}" for place in places if place not in set(missing)})
    found = compile_snapshot(parse_version(document), digest(document), secrets, health, AT_US)
    assert not found.make_some(lambda: False)
    return found


def ask(model: str = "able", body: bytes = b'{"messages":[]}', *, group: str = "default", **more: Any) -> Ask:
    """Returns what a choice would see of a request."""
    return Ask(route_group=group, model=model, members=read_body(body), body_bytes=len(body), **more)


def walk(found: Snapshot, asked: Ask | None = None, seed: int = 1, *, written: bool = False) -> Walk:
    """Returns the way of a request that has not begun; `written`: its body is written for each target as sent there."""
    asked = asked or ask()
    candidates = found.serving(asked.route_group, asked.model, asked.operation)
    assert candidates is not None
    say = _saying(asked) if written else None
    return Walk(found, asked.model, candidates, lambda: asked, random.Random(seed), say)


def _saying(asked: Ask) -> Callable[[Target], Sending]:
    opened = wire.Open(dialect=asked.dialect, operation=wire.OPERATION_CHAT, body_length=asked.body_bytes)
    return partial(sending, opened, dict(asked.members), body=plain_body(dict(asked.members)))


def first(way: Walk, now: float = 0.0) -> Target | None:
    """Returns where a request goes first."""
    return way.first(now, way.ask.dialect, way.ask.body_bytes)


def problem(status: int, code: str = "", *, wait_ms: int = 0) -> UpstreamProblem:
    """Returns what a provider's refusal means."""
    return problem_of_reply(status, b'{"error":{"message":"no","code":"%b"}}' % code.encode(), Hints(wait_ms))


def path(
    found: Snapshot, *problems: UpstreamProblem, asked: Ask | None = None, seed: int = 1, written: bool = False
) -> list[str]:
    """Returns the channels that one request goes to when its attempts end with these problems, and the last well.

    Health is told as the product tells it, at second 0.
    """
    way = walk(found, asked, seed, written=written)
    target = first(way)
    visited: list[str] = []
    for one in (*problems, None):
        if target is None:
            break
        visited.append(target.channel)
        ticket = target.seat.begin(0.0, first=len(visited) == 1)
        if one is None:
            target.seat.succeeded(ticket, 0.0, 0.1)
            break
        target.seat.failed(ticket, 0.0, one)
        target = way.after(one, target, 0.0)
    return visited
