"""The configuration version in force, from the document that edge publishes."""

import logging
from collections import defaultdict
from importlib import resources
from typing import Any

import yaml

from tollgate_media_jobs.domain.ability import Abilities, Ability, FreeSizes
from tollgate_media_jobs.domain.channels import Channel, CredentialRef, Levels, Target, Version
from tollgate_rating import PriceTable
from tollgate_resources import Credential, VersionChannel, VersionDocument, azure_place, parse_version

log = logging.getLogger(__name__)


class VersionHolder:
    """Swaps whole versions; what runs keeps the one it began with."""

    def __init__(self) -> None:
        self._version: Version | None = None

    def current(self) -> Version | None:
        return self._version

    def apply(self, digest: str, document: bytes) -> None:
        """Puts a version in force. Raises ValueError when the bytes are none."""
        parsed = parse_version(document)
        self._version = compile_version(parsed, digest)
        left_out = [channel.name for channel in parsed.channels if not _is_reachable(channel)]
        if left_out:
            log.warning("channels that say tls or proxy serve no images", extra={"fields": {"channels": left_out}})
        log.info("configuration in force", extra={"fields": {"digest": digest[:19]}})


def compile_version(document: VersionDocument, digest: str) -> Version:
    """Returns the version as this service uses it."""
    books = [book.rated() for book in document.price_books]
    return Version(
        digest=digest,
        price_table=PriceTable(books, rates=[rate.rated() for rate in document.exchange_rates]),
        kinds={model.name: model.kind for model in document.models},
        books={book.digest: book for book in books},
        routes=_routes(document),
        costs={one.name: cost for one in document.channels if (cost := one.rated_cost()) is not None},
    )


def _routes(document: VersionDocument) -> dict[tuple[str, str], Levels]:
    # Pictures are asked for on OpenAI's wire only.
    channels = {
        channel.name: channel for channel in document.channels if _is_reachable(channel) and channel.wire == "openai"
    }
    levels_of: dict[str, list[list[tuple[VersionChannel, str, int]]]] = defaultdict(lambda: [[]])
    for channel in channels.values():
        for model in channel.models:
            levels_of[model.name][0].append((channel, model.upstream or model.name, channel.weight))
    for route in document.routes:
        levels_of[route.model] = [
            [
                (
                    channels[target.channel],
                    target.upstream or _upstream(channels[target.channel], route.model),
                    target.weight,
                )
                for target in level.targets
                if target.channel in channels
            ]
            for level in route.levels
        ]
    routes: dict[tuple[str, str], Levels] = {}
    for name, levels in levels_of.items():
        for group in {group for level in levels for channel, _, _ in level for group in channel.groups}:
            served = [[_target(*entry) for entry in level if group in entry[0].groups] for level in levels]
            routes[group, name] = [level for level in served if level]
    return routes


def _is_reachable(channel: VersionChannel) -> bool:
    # This service's client has no proxies, no certificates of its own and no tokens, and must not go around those of a
    # channel: a client secret is no key.
    return channel.tls is None and channel.proxy is None and channel.cloud.entra is None


def _target(channel: VersionChannel, upstream_model: str, weight: int) -> Target:
    between, query = azure_place(channel.cloud, upstream_model) if channel.platform == "azure" else ("", "")
    return Target(
        Channel(
            name=channel.name,
            provider=channel.provider,
            base_url=channel.base_url + between,
            query=query,
            auth_header=channel.auth.header,
            auth_prefix=channel.auth.prefix,
            credentials=tuple(_reference(credential) for credential in channel.credentials),
            private_network=channel.private_network,
            concurrency=channel.limits.concurrency,
        ),
        upstream_model,
        weight,
    )


def _upstream(channel: VersionChannel, model: str) -> str:
    return next((offered.upstream or model for offered in channel.models if offered.name == model), model)


def _reference(credential: Credential) -> CredentialRef:
    if credential.env is not None:
        return CredentialRef("env", credential.env)
    return CredentialRef("file", credential.file or "")


def load_abilities() -> Abilities:
    """Reads what image models accept from the file that ships in this package."""
    text = (resources.files("tollgate_media_jobs") / "data" / "image_models.yaml").read_text("utf-8")
    return Abilities(_ability(entry) for entry in yaml.safe_load(text))


def _ability(entry: dict[str, Any]) -> Ability:
    sizes = entry["sizes"]
    return Ability(
        match=entry["match"],
        prompt_characters=entry["prompt_characters"],
        count=entry["count"],
        sizes=FreeSizes(**sizes) if isinstance(sizes, dict) else tuple(sizes),
        qualities=tuple(entry["qualities"]),
        formats=tuple(entry["formats"]),
        output_tokens=entry["output_tokens"],
    )
