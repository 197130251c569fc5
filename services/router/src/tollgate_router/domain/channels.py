"""Declared channels made ready to be sent to: address, credentials, health, and what each of their models can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from math import inf
from typing import Final, Protocol

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_rating import ChannelCost, ModelPrice, PriceTable, RatingError
from tollgate_resources import CatalogueModel, ChannelModel, Credential, Entra, VersionChannel
from tollgate_resources.ports import Ports
from tollgate_router.domain.abilities import AUDIO, EVERYTHING, bits_of
from tollgate_router.domain.entra import Application, InvalidId, check_client, token_url
from tollgate_router.domain.health.channel import ChannelHealth
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.origins import origin_of
from tollgate_router.domain.platforms import place_of
from tollgate_router.domain.quirks.wire import NO_QUIRKS, WireQuirks
from tollgate_router.domain.secret import Secret
from tollgate_router.domain.service_account import InvalidAccount
from tollgate_router.domain.signing import Signer
from tollgate_router.domain.sigv4 import InvalidKeys, SigV4, parse_keys
from tollgate_router.domain.target import JSON_LINE, Origin, Target, split_base_url
from tollgate_router.domain.tokens import Tokens
from tollgate_router.errors import CredentialMissing

_FIXED_HEADERS: Final = JSON_LINE + b"accept-encoding: identity\r\nuser-agent: tollgate\r\n"
_OPERATIONS: Final = {
    "chat": wire.OPERATION_CHAT,
    "embeddings": wire.OPERATION_EMBEDDINGS,
    "images": wire.OPERATION_IMAGE,
    "completions": wire.OPERATION_COMPLETION,
    "moderations": wire.OPERATION_MODERATION,
    "rerank": wire.OPERATION_RERANK,
    "speech": wire.OPERATION_SPEECH,
    "transcriptions": wire.OPERATION_TRANSCRIPTION,
    "translations": wire.OPERATION_TRANSLATION,
}
# Every wire serves callers of each of these: see `domain.dialects`.
_SPOKEN: Final = frozenset(
    (wire.DIALECT_OPENAI_CHAT, wire.DIALECT_OPENAI_RESPONSES, wire.DIALECT_ANTHROPIC, wire.DIALECT_GEMINI)
)
# What costs are compared by: prompts are longer than answers.
_MIXTURE: Final = {"input": 3000, "output": 1000}
_NOTHING_KNOWN: Final = ChannelModel(name="-")


class Credentials(Protocol):
    def resolve(self, credential: Credential) -> Secret:
        """Returns the secret, of one line. Raises CredentialMissing."""
        ...

    def document(self, credential: Credential) -> Secret:
        """Returns a secret of several lines, such as a key file. Raises CredentialMissing."""
        ...


@dataclass(frozen=True, slots=True)
class Key:
    """A credential that is there. `identity` changes with the secret, so that a new one begins with a clean record."""

    identity: str
    header_block: bytes = field(repr=False)
    signer: Signer | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """A channel that can be sent to."""

    channel: VersionChannel
    origin: Origin
    base_path: str
    keys: tuple[Key, ...]
    health: ChannelHealth
    offered: Mapping[str, ChannelModel]
    cost: ChannelCost | None = None
    quirks: WireQuirks = NO_QUIRKS
    _made: dict[tuple[str, int, int, int, int], tuple[Target, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def upstream_of(self, model: str) -> str:
        """Returns the provider's name for a public model."""
        return self.offered.get(model, _NOTHING_KNOWN).upstream or model

    def targets(
        self, upstream_model: str, weight: int, can: int, context_tokens: int, max_output_tokens: int = 0
    ) -> tuple[Target, ...]:
        """Returns one target per credential; together they weigh `weight` times the number of credentials.

        Routes that ask for the same get the same: ten thousand of them over a thousand channels would have forty
        thousand targets, each read from memory and not from a processor's cache.
        """
        asked = upstream_model, weight, can, context_tokens, max_output_tokens
        found = self._made.get(asked)
        if found is None:
            found = self._made[asked] = self._make(*asked)
        return found

    def _make(
        self, upstream_model: str, weight: int, can: int, context_tokens: int, max_output_tokens: int
    ) -> tuple[Target, ...]:
        channel, place = self.channel, place_of(self.channel, self.base_path, upstream_model)
        return tuple(
            Target(
                channel=channel.name,
                key_index=index,
                provider=channel.provider,
                origin=self.origin,
                base_path=place.base_path,
                upstream_model=upstream_model,
                conforming=channel.conforming,
                weight=weight,
                header_block=key.header_block,
                seat=self.health.seat(key.identity, upstream_model),
                can=can,
                context_tokens=context_tokens,
                dialects=_SPOKEN,
                # The Responses API has no sound: models that hear are asked by chat.
                responses=channel.responses and (can == EVERYTHING or not can & AUDIO),
                wire=place.wire,
                platform=channel.platform,
                query=place.query,
                body_version=place.body_version,
                signer=key.signer,
                max_output_tokens=max_output_tokens,
                max_tokens_name=channel.max_tokens_name,
                operations=_operations_of(channel.operations),
                quirks=self.quirks,
                rerank=channel.rerank,
                region=channel.region or "",
                tools_by_responses=self.quirks.tools_by_responses(upstream_model),
                searches=self.quirks.searches(upstream_model),
                cost=self.cost,
            )
            for index, key in enumerate(self.keys)
        )

    def probe_target(self, key: Key, upstream_model: str) -> Target:
        """Returns a target for a request of the router's own, which is counted nowhere."""
        channel, place = self.channel, place_of(self.channel, self.base_path, upstream_model)
        return Target(
            channel=channel.name,
            key_index=self.keys.index(key),
            provider=channel.provider,
            origin=self.origin,
            base_path=place.base_path,
            upstream_model=upstream_model,
            conforming=channel.conforming,
            weight=1,
            header_block=key.header_block,
            wire=place.wire,
            platform=channel.platform,
            query=place.query,
            body_version=place.body_version,
            signer=key.signer,
            max_tokens_name=channel.max_tokens_name,
            quirks=self.quirks,
        )


def prepare(
    channel: VersionChannel,
    credentials: Credentials,
    health: Health,
    *,
    needs_key: bool,
    tokens: Tokens | None = None,
    ports: Ports | None = None,
) -> Ready:
    """Returns a channel ready to be sent to.

    Raises CredentialMissing, and ValueError for an address that is none or whose port, or its proxy's, is not allowed.
    """
    origin, base_path = origin_of(channel, credentials.resolve)
    for place in (origin, origin.proxy):
        # The guard judges it again when it connects; here an operator learns it before anybody asks.
        if place is not None and ports is not None:
            refused = ports.refusal(place.port, private_network=place.private_network)
            if refused is not None:
                raise ValueError(refused)
    keys = []
    missing = []
    for credential in channel.credentials:
        try:
            keys.append(_key_of(channel, credential, credentials, tokens))
        except CredentialMissing as error:
            missing.append(str(error))
    if not keys and (missing or needs_key):
        raise CredentialMissing("; ".join(missing) or "the channel names no credential and its provider needs one")
    known = health.channel(channel.name, channel.base_url)
    usable = tuple(dict.fromkeys(keys)) or (Key("", _FIXED_HEADERS),)
    known.limit(channel.limits)
    known.number_keys([key.identity for key in usable])
    offered = {model.name: model for model in channel.models}
    quirks = NO_QUIRKS if channel.quirks is None else WireQuirks(channel.quirks)
    return Ready(channel, origin, base_path, usable, known, offered, channel.rated_cost(), quirks)


# One for all channels of a provider, and all models of theirs.
@lru_cache(maxsize=256)
def _operations_of(names: tuple[str, ...]) -> frozenset[int] | None:
    """Returns what its provider's data says that it serves; None for a version of a release that did not say it."""
    return frozenset(_OPERATIONS[name] for name in names) or None


def _account_key(channel: VersionChannel, credential: Credential, credentials: Credentials, tokens: Tokens) -> Key:
    """Returns a key made of a service account's key file. Raises CredentialMissing, and ValueError for its address."""
    secret = credentials.document(credential).reveal()
    identity = _identity(secret)
    try:
        account = tokens.account(identity, secret, private_network=channel.private_network)
        origin, path = _token_place(channel, account.token_url, credentials)
    except (InvalidAccount, ValueError) as error:
        raise CredentialMissing(f"{credential.place} {error}") from None
    return Key(identity, _FIXED_HEADERS, tokens.source(identity, account, origin, path))


def _application_key(
    channel: VersionChannel, entra: Entra, credential: Credential, credentials: Credentials, tokens: Tokens
) -> Key:
    """Returns a key made of a client secret. Raises CredentialMissing, and ValueError for the authority's address."""
    secret = credentials.resolve(credential).reveal()
    said = [credentials.resolve(place).reveal() for place in (entra.tenant, entra.client)]
    try:
        url = token_url(entra.authority, said[0])
    except InvalidId as error:
        raise CredentialMissing(f"{entra.tenant.place} {error}") from None
    try:
        application = Application(check_client(said[1]), url, entra.scope, secret)
    except InvalidId as error:
        raise CredentialMissing(f"{entra.client.place} {error}") from None
    if not url.startswith("https://") and not channel.private_network:
        raise ValueError("the authority of cloud.entra is no https:// address")
    origin, path = _token_place(channel, url, credentials)
    identity = _identity(f"{url}\n{application.client}\n{entra.scope}\n{secret}")
    return Key(identity, _FIXED_HEADERS, tokens.source(identity, application, origin, path))


def _token_place(channel: VersionChannel, url: str, credentials: Credentials) -> tuple[Origin, str]:
    """Returns where tokens are asked for."""
    # The channel's certificates are of the channel's own address; its proxy leads everywhere.
    proxy = origin_of(channel, credentials.resolve)[0].proxy
    return split_base_url(url, private_network=channel.private_network, proxy=proxy)


def _identity(secret: str) -> str:
    return blake2b(secret.encode(), digest_size=16).hexdigest()


def _key_of(channel: VersionChannel, credential: Credential, credentials: Credentials, tokens: Tokens | None) -> Key:
    """Returns a key made of a secret. Raises CredentialMissing, which never holds anything of it."""
    if channel.platform == "vertex":
        assert tokens is not None
        return _account_key(channel, credential, credentials, tokens)
    if channel.cloud.entra is not None:
        assert tokens is not None
        return _application_key(channel, channel.cloud.entra, credential, credentials, tokens)
    secret = credentials.resolve(credential).reveal()
    identity = _identity(secret)
    if channel.platform == "bedrock":
        try:
            signer = SigV4(parse_keys(secret), channel.cloud.region or "", "bedrock")
        except InvalidKeys as error:
            raise CredentialMissing(f"{credential.place} {error}") from None
        return Key(identity, _FIXED_HEADERS, signer)
    line = f"{channel.auth.header}: {channel.auth.prefix}{secret}\r\n"
    return Key(identity, line.encode() + _FIXED_HEADERS)


def skill_of(offered: ChannelModel | None, known: CatalogueModel | None) -> tuple[int, int]:
    """Returns what a target can do, as bits of `abilities`, and its context in tokens, 0 where that is not known.

    What the channel says of its model goes before what the catalogue says.
    """
    can, context_tokens = EVERYTHING, 0
    if known is not None and known.kind == "chat":
        can, context_tokens = bits_of(known.abilities), known.context_tokens or 0
    if offered is not None:
        can = can if offered.abilities is None else bits_of(offered.abilities)
        context_tokens = offered.context_tokens or context_tokens
    return can, context_tokens


class Costs:
    """What a thousand answers cost us at each target, in pico-units; infinite where nobody knows.

    Costs in different currencies are compared by their numbers, so prices of one configuration belong in one currency.
    """

    def __init__(self, table: PriceTable, models: Mapping[str, CatalogueModel], at_us: int) -> None:
        self._table = table
        self._at_us = at_us
        self._by_upstream = {(model.provider, model.upstream): model.name for model in models.values()}

    def of(self, ready: Ready, model: str, upstream_model: str) -> Fraction | float:
        """Returns the cost of a mixture of prompt and answer at this channel."""
        offered = ready.offered.get(model)
        if offered is not None and offered.cost is not None:
            return _rated(offered.rated_cost())
        own = self._by_upstream.get((ready.channel.provider, upstream_model))
        factor = Fraction(ready.channel.cost_multiply)
        listed = (self._table.find(name, "", self._at_us) for name in (own, upstream_model, model) if name)
        return next((cost * factor for price in listed if (cost := _rated(price)) != inf), inf)


def _rated(price: ModelPrice | None) -> int | float:
    try:
        return inf if price is None else price.rate(_MIXTURE)
    except RatingError:
        return inf
