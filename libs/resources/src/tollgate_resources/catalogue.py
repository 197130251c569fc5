"""What ships with the product as data: providers, the models they are known for, and the prices they publish."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Annotated, Any, Final, Literal, TypeVar

import yaml
from pydantic import Field

from tollgate_resources.models import ChannelModel, Flag, ModelName, Name, PositiveInt, PriceBook, Resource, Url

SIMULATOR: Final = "simulator"


Wire = Literal["openai", "anthropic", "gemini", "bedrock"]
Platform = Literal["", "azure", "bedrock", "vertex"]


class Auth(Resource):
    """How a credential is sent: a header and what stands before the secret in it."""

    header: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "authorization"
    prefix: str = "Bearer "


class Provider(Resource):
    """A vendor or a kind of server, and how its wire is spoken."""

    name: Name
    title: str = ""
    wire: Wire = "openai"
    platform: Platform = ""
    """A cloud whose paths or credentials are of its own kind; the channel says the rest in `cloud`."""
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the wire of OpenAI calls the limit of an answer here."""
    base_url: Url | None = None
    """None: every channel says its own. `{region}` stands for the one that the channel says."""
    auth: Auth = Auth()
    credentials_required: Flag = True
    conforming: Flag = False
    """Replies keep to the wire's rules and may be passed on untouched."""
    environment: tuple[str, ...] = ()
    """Environment variables that hold a key of this provider; the first one set counts."""
    simulates: Name | None = None
    """The provider whose wire the simulator speaks here; its models are those it chats with."""
    operations: tuple[Literal["chat", "embeddings", "images"], ...] = ()
    """What the endpoint serves."""
    source: str = ""
    """The page that names `base_url`."""
    checked: str = ""
    """The day on which it was read there."""
    evidence: Literal["page", "quoted", ""] = ""
    """How it was read: from a copy of that page, or from documentation of others that quotes it."""


class CatalogueModel(Resource):
    """A model by its public name."""

    name: ModelName
    provider: Name
    """The provider whose channels offer it under `models: "*"`."""
    upstream: ModelName | None = None
    kind: Literal["chat", "embedding", "image", ""] = "chat"
    """Empty for a model that the catalogue does not know."""
    owned_by: str = ""
    """The provider when left out."""
    created: Annotated[int, Field(strict=True, ge=0)] = 0
    """Seconds since the epoch; 0 is not known."""
    context_tokens: PositiveInt | None = None
    max_output_tokens: PositiveInt | None = None
    abilities: tuple[str, ...] = ()
    retires: str = ""
    """The day on which the provider switches it off, as 2027-04-01."""
    source: str = ""
    """The vendor's page that it comes from, where that is known."""
    checked: str = ""
    """The day on which it was read."""


T = TypeVar("T", Provider, CatalogueModel)


@dataclass(frozen=True)
class Catalogue:
    providers: Mapping[str, Provider]
    models: Mapping[str, CatalogueModel]
    price_books: tuple[PriceBook, ...]

    @cached_property
    def by_upstream(self) -> Mapping[tuple[str, str], CatalogueModel]:
        """Models by provider and the provider's own name."""
        return {(model.provider, model.upstream): model for model in self.models.values() if model.upstream is not None}

    def models_of(self, provider: str) -> tuple[ChannelModel, ...]:
        """Returns what "*" stands for in a channel of this provider; the simulator offers everything."""
        known = self.providers.get(provider)
        if known is not None and known.simulates:
            owned = (model for model in self.models.values() if model.provider == known.simulates)
            return tuple(
                ChannelModel(name=model.name, upstream=model.upstream) for model in owned if model.kind == "chat"
            )
        return tuple(
            ChannelModel(name=model.name, upstream=model.upstream if provider != SIMULATOR else None)
            for model in self.models.values()
            if provider in (model.provider, SIMULATOR)
        )


def build_catalogue(
    providers: Iterable[Provider], models: Iterable[CatalogueModel], price_books: Iterable[PriceBook]
) -> Catalogue:
    """Returns the catalogue. Raises ValueError when a name is used twice or a model's provider is not known."""
    by_provider = _by_name(providers)
    by_model = _by_name(models)
    for model in by_model.values():
        if model.provider not in by_provider:
            raise ValueError(f"model {model.name} names the unknown provider {model.provider}")
    return Catalogue(by_provider, by_model, tuple(price_books))


def _by_name(entries: Iterable[T]) -> dict[str, T]:
    found: dict[str, T] = {}
    for entry in entries:
        if entry.name in found:
            raise ValueError(f"{entry.name} is there twice")
        found[entry.name] = entry
    return found


def load_catalogue() -> Catalogue:
    """Reads the files `providers*.yaml`, `models*.yaml` and `prices*.yaml` that ship in this package."""
    return build_catalogue(
        (Provider.model_validate(entry) for entry in _entries("providers", "providers")),
        (CatalogueModel.model_validate(entry) for entry in _entries("models", "models")),
        (PriceBook.model_validate(entry) for entry in _entries("prices", "price_books")),
    )


def _entries(prefix: str, field: str) -> list[Any]:
    entries: list[Any] = []
    folder = resources.files("tollgate_resources") / "data"
    for file in sorted(folder.iterdir(), key=lambda item: item.name):
        if file.name.startswith(prefix) and file.name.endswith(".yaml"):
            document = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe, in C if built.
            entries.extend(document.get(field) or [])
    return entries
