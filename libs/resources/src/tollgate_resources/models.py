"""What can be declared in `tollgate.yaml`, and nothing else: frozen shapes that refuse unknown fields.

The descriptions are the reference of the file format and travel into its JSON Schema.
"""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from tollgate_rating import ExchangeRate as RatedRate
from tollgate_rating import InvalidPrice, ModelPrice, parse_decimal
from tollgate_rating import PriceBook as RatedBook
from tollgate_rating import PriceTier as RatedTier
from tollgate_rating.tiers import parse_tier
from tollgate_rating.units import check_unit

ALL_MODELS: Final = "*"
CATALOGUE_BOOK: Final = "catalogue"
DEFAULT_GROUP: Final = "default"
_HEADER: Final = "header:"
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "x-goog-api-key", "api-key"}
)


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time with its zone, such as 2026-11-01T00:00:00Z")
    return value


def _no_number(value: object) -> object:
    # YAML reads 1700000000 as a number, which would pass for a Unix time.
    if isinstance(value, int | float):
        raise ValueError("a time with its zone, such as 2026-11-01T00:00:00Z")  # noqa: TRY004 - pydantic reports it.
    return value


def _decimal(value: object) -> object:
    try:
        parse_decimal(value)
    except InvalidPrice:
        raise ValueError('a decimal string in quotes, such as "1.25", with at most 12 decimals') from None
    return value


def _unit(value: object) -> object:
    try:
        return check_unit(value)
    except InvalidPrice as error:
        raise ValueError(str(error).partition("; allowed: ")[2]) from None


def _url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if scheme not in {"http", "https"} or not separator or not rest.partition("/")[0]:
        raise ValueError("an http:// or https:// address")
    if "@" in rest.partition("/")[0] or "?" in rest or "#" in rest:
        raise ValueError("an address without user, query and fragment; secrets belong into `credentials`")
    return value.rstrip("/")


def _no_secret(value: str) -> str:
    if value.lower().removeprefix(_HEADER) in _SECRET_HEADERS and value.startswith(_HEADER):
        raise ValueError("a header that carries no secret")
    return value


def _proxy_url(value: str) -> str:
    scheme, separator, rest = value.rstrip("/").partition("://")
    host, colon, port = rest.rpartition(":")
    digits = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    if scheme != "http" or not separator or not host or not colon or not digits or set(host) & set("@/?# "):
        raise ValueError("http://HOST:PORT; a user and a password belong into `credential`")
    return value.rstrip("/")


def _star(value: object) -> object:
    return [{"name": ALL_MODELS}] if value == ALL_MODELS else value


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
ModelName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s\x00-\x1f]+$")]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
PositiveInt = Annotated[int, Field(strict=True, gt=0)]
Weight = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
Flag = Annotated[bool, Field(strict=True)]
Url = Annotated[str, AfterValidator(_url)]
ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]
FilePath = Annotated[str, Field(min_length=1)]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})$")]
Moment = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(_aware)]
DecimalString = Annotated[str, BeforeValidator(_decimal), WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+$"})]
Currency = Literal["USD", "CNY"]
Percent = Annotated[float, Field(strict=True, gt=0, le=100)]
AffinityName = Annotated[
    str,
    Field(max_length=64, pattern=r"^(header:[A-Za-z0-9!#$%&'*+.^_`|~-]+|[A-Za-z_][A-Za-z0-9_]*)$"),
    AfterValidator(_no_secret),
]
Unit = Annotated[str, BeforeValidator(_unit)]
ModelPrices = Annotated[dict[Unit, DecimalString], Field(min_length=1)]


class Resource(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class Credential(Resource):
    """Where an upstream secret is read from; the secret itself is never written down. Exactly one of the two."""

    env: EnvironmentName | None = None
    """Name of an environment variable of the router."""
    file: Annotated[str, Field(min_length=1)] | None = None
    """Path of a file whose first line is the secret."""

    @model_validator(mode="before")
    @classmethod
    def _no_stored_secret(cls, found: object) -> object:
        if isinstance(found, dict) and "secret" in found:
            raise ValueError("there are no stored secrets yet: name an environment variable (env) or a file (file)")
        return found

    @model_validator(mode="after")
    def _one(self) -> "Credential":
        if (self.env is None) == (self.file is None):
            raise ValueError("exactly one of env, file")
        return self

    @property
    def place(self) -> str:
        """What it names, in words."""
        if self.env is not None:
            return f"environment variable {self.env}"
        return f"file {self.file}"


Ability = Literal["image_input", "tools", "structured_output", "audio_input", "pdf_input", "video_input"]

ABILITIES: Final = frozenset(get_args(Ability))


class ChannelModel(Resource):
    """A model that a channel offers: a name, or a name and what is known of it there."""

    name: ModelName
    """The public name, which callers use."""
    upstream: ModelName | None = None
    """The provider's name; the public name when left out."""
    abilities: tuple[Ability, ...] | None = None
    """What it can do; what the catalogue says when left out, and everything where that knows nothing."""
    context_tokens: PositiveInt | None = None
    """What prompt and answer may share; what the catalogue says when left out."""
    cost: ModelPrices | None = None
    """What this account pays for it, as in a price book; the list price when left out. Decides what is cheapest."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def rated_cost(self) -> ModelPrice | None:
        """Returns `cost` as rating computes with it; its currency is that of the book that it will stand beside."""
        if self.cost is None:
            return None
        book = RatedBook(name="cost", effective_us=0, currency="USD", models={self.name: self.cost})
        return book.price(self.name, "")


class Limits(Resource):
    """What the account at the provider allows."""

    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    concurrency: PositiveInt | None = None


class Probe(Resource):
    """Asks the provider now and then whether it is there, with the cheapest request that tells."""

    interval_seconds: Annotated[int, Field(strict=True, ge=5, le=86_400)] = 30
    model: ModelName | None = None
    """A model that is asked for one token, which is paid for; when left out, the list of models is asked for."""


class ChannelTls(Resource):
    """What TLS towards the channel's address needs besides the ordinary. Verification cannot be switched off."""

    ca_file: FilePath | None = None
    """PEM file of the authorities that are trusted for this channel, instead of the system's."""
    certificate_file: FilePath | None = None
    """PEM file of the certificate that is presented; it may hold the key as well."""
    key_file: FilePath | None = None
    """PEM file of the certificate's key, without a pass phrase."""
    server_name: HostName | None = None
    """The name that the server must prove, when that is not the host of the address."""

    @model_validator(mode="after")
    def _key_of_something(self) -> "ChannelTls":
        if self.key_file is not None and self.certificate_file is None:
            raise ValueError("certificate_file beside key_file")
        return self


class ChannelProxy(Resource):
    """An HTTP proxy that the channel's connections go through, by CONNECT."""

    url: ProxyUrl
    credential: Credential | None = None
    """Where `user:password` for the proxy is read from."""
    private_network: Flag = False
    """The proxy's address may be a private or loopback one."""
    resolve: Literal["here", "proxy"] = "here"
    """Who resolves the host of the channel's address. With `proxy`, what it resolves to cannot be checked here."""


def _reports_usage(value: str) -> str:
    if value[:1].isdigit() and value < "2024-08-01":
        raise ValueError("2024-10-21 or later, or preview; earlier versions report no usage of streams")
    return value


def _date_as_text(value: object) -> object:
    # YAML reads 2024-10-21 without quotes as a date.
    return value.isoformat() if isinstance(value, date) else value


ApiVersion = Annotated[
    str,
    BeforeValidator(_date_as_text),
    Field(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?|preview)$"),
    AfterValidator(_reports_usage),
]


class Entra(Resource):
    """An application of Microsoft Entra ID whose tokens are sent; the channel's credentials are its client secrets."""

    tenant: Credential
    """Where the tenant's id is read from."""
    client: Credential
    """Where the application's (client's) id is read from."""
    authority: Url = "https://login.microsoftonline.com"
    """Who gives the tokens; another one in national clouds."""
    scope: Annotated[str, Field(max_length=256, pattern=r"^[!-~]+$")] = "https://cognitiveservices.azure.com/.default"
    """What the tokens are for; another one in national clouds."""


class Cloud(Resource):
    """What a cloud asks for besides an address and a credential; each provider says which of it."""

    api_version: ApiVersion | None = None
    """Of Azure: a dated version asks deployments by their own paths; the v1 paths when left out, or preview."""
    region: Annotated[str, Field(max_length=32, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")] | None = None
    """Of Bedrock, such as us-east-1, and of Vertex, such as europe-west4 or global."""
    project: Annotated[str, Field(max_length=128, pattern=r"^[a-z0-9][a-z0-9.:-]*$")] | None = None
    """Of Vertex: the project's id."""
    entra: Entra | None = None
    """Of Azure: whose access tokens are sent instead of a key."""


class Channel(Resource):
    """One account at one provider, with its credentials and limits."""

    name: Name
    provider: Name
    """A provider that the product knows."""
    base_url: Url | None = None
    """The provider's own when left out."""
    cloud: Cloud | None = None
    credentials: tuple[Credential, ...] = ()
    """One or more; several are used in turn."""
    models: Annotated[tuple[ChannelModel, ...], BeforeValidator(_star), Field(min_length=1)]
    """Names, or names with `upstream`; "*" is what the catalogue knows of the provider."""
    limits: Limits = Limits()
    private_network: Flag = False
    """The address may be a private or loopback one."""
    tls: ChannelTls | None = None
    proxy: ChannelProxy | None = None
    groups: Annotated[tuple[Name, ...], Field(min_length=1)] = (DEFAULT_GROUP,)
    """Route groups that it serves."""
    weight: Weight = 1
    """Its share among channels that offer a model without a route."""
    enabled: Flag = True
    """False keeps it in the file and out of use."""
    region: Name | None = None
    """Where the provider computes, in words of your own, such as eu."""
    responses: Flag | None = None
    """Whether its server speaks the Responses API as well; left out, what the provider's data says of the provider's
    own address."""
    probe: Probe | None = None
    """Asks after its health when set; otherwise requests tell."""
    cost_multiply: DecimalString = "1"
    """What this account pays, as a factor on list prices."""
    tags: dict[str, str] = {}


class Target(Resource):
    """A channel that may answer, and under what name it knows the model."""

    channel: Name
    upstream: ModelName | None = None
    weight: Weight = 1


class Level(Resource):
    """Targets that are tried before those of the next level."""

    targets: Annotated[tuple[Target, ...], Field(min_length=1)]


class Fallbacks(Resource):
    """Models that answer instead, by the reason of the failure, in order."""

    error: tuple[ModelName, ...] = ()
    rate_limit: tuple[ModelName, ...] = ()
    context_length: tuple[ModelName, ...] = ()
    content_policy: tuple[ModelName, ...] = ()
    budget: tuple[ModelName, ...] = ()


class Canary(Resource):
    """Targets that a share of callers gets first; the same callers every time."""

    percent: Percent
    """Of sessions, where the route has an affinity and the request a value for it; else of API keys."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1)]


class Route(Resource):
    """How a model is served. A model without a route is served by every channel that offers it, by weight."""

    model: ModelName
    strategy: Literal["weighted", "least_busy", "lowest_latency", "cheapest"] = "weighted"
    levels: Annotated[tuple[Level, ...], Field(min_length=1)]
    fallbacks: Fallbacks = Fallbacks()
    affinity: AffinityName | None = None
    """What keeps requests on one target: a field of the body such as prompt_cache_key or user, header:NAME, or
    conversation, which is its beginning up to the first message of the user."""
    canary: Canary | None = None
    regions: tuple[Name, ...] = ()
    """Only channels of these regions serve it; any when left out."""

    def affinity_header(self) -> str | None:
        """Returns the header that requests are bound by, in lower case, where it is one."""
        affinity = self.affinity or ""
        return affinity.removeprefix(_HEADER).lower() if affinity.startswith(_HEADER) else None


class PriceGroup(Resource):
    """What a price group pays: `multiply` times the book's price, or its own price for a model."""

    multiply: DecimalString = "1"
    models: dict[ModelName, ModelPrices] = {}


def _tier_is_whole(tier: "PriceTier") -> "PriceTier":
    try:
        parse_tier(tier.rated())
    except InvalidPrice as error:
        raise ValueError(str(error)) from None
    return tier


class PriceTier(Resource):
    """What a model costs where all conditions that are named hold; the first tier of which that is so decides."""

    context_over: Annotated[int, Field(strict=True, ge=0)] | None = None
    """More input tokens than this, cached ones included."""
    service: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")] | None = None
    """The tier of service that the provider reports, such as flex or priority."""
    hours: Annotated[str, Field(pattern=r"^[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}$")] | None = None
    """Times of the day in UTC such as "16:30-00:30", by the request's start; the end is not included."""
    prices: dict[Unit, DecimalString] = {}
    """Prices of its own, as in a price book."""
    multiply: DecimalString = "1"
    """A factor on the usual price of the units that are not in `prices`."""

    @model_validator(mode="after")
    def _whole(self) -> "PriceTier":
        return _tier_is_whole(self)

    def rated(self) -> RatedTier:
        """Returns the tier as rating computes with it."""
        return RatedTier(self.prices, self.multiply, self.context_over, self.service or "", self.hours or "")


class PriceBook(Resource):
    """One version of a series of prices, in force from `effective` until a later one of the same name."""

    name: Name
    effective: Moment
    currency: Currency
    models: Annotated[dict[ModelName, ModelPrices], Field(min_length=1)]
    """Model → unit → decimal string; token units are priced per 1,000,000."""
    groups: dict[Name, PriceGroup] = {}
    tiers: dict[ModelName, tuple[PriceTier, ...]] = {}
    """Model → what it costs for long prompts, another service or at some hours; the first that holds counts."""

    def rated(self) -> RatedBook:
        """Returns the book as rating computes with it."""
        from tollgate_rating import GroupRule

        return RatedBook(
            name=self.name,
            effective_us=_microseconds(self.effective),
            currency=self.currency,
            models=self.models,
            groups={name: GroupRule(group.multiply, group.models) for name, group in self.groups.items()},
            tiers={model: [tier.rated() for tier in tiers] for model, tiers in self.tiers.items()},
        )


def _above_zero(value: str) -> str:
    if not parse_decimal(value):
        raise ValueError("a rate above 0")
    return value


class ExchangeRate(Resource):
    """What one unit of `base` costs in `quote`, from `effective` until a later rate of the same two currencies.

    Who pays in another currency than the price book's pays the book's price times the rate in force when the request
    began. A rate holds in its own direction only.
    """

    base: Currency
    quote: Currency
    rate: Annotated[DecimalString, AfterValidator(_above_zero)]
    """A decimal string."""
    effective: Moment

    @model_validator(mode="after")
    def _of_two(self) -> "ExchangeRate":
        if self.base == self.quote:
            raise ValueError("two different currencies in `base` and `quote`")
        return self

    def rated(self) -> RatedRate:
        """Returns the rate as rating computes with it."""
        return RatedRate(base=self.base, quote=self.quote, rate=self.rate, effective_us=_microseconds(self.effective))


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
