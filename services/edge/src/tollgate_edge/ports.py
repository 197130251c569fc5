"""What edge's use cases and handlers need from outside, and the values that cross these borders."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.media.v1 import media_pb2 as media
from tollgate.router.v1 import responses_pb2 as responses
from tollgate.router.v1 import router_pb2 as router
from tollgate_edge.domain.limits import NO_LIMITS, Limits
from tollgate_edge.domain.principal import Principal
from tollgate_rating import PriceTable


@dataclass(frozen=True, slots=True)
class Refused:
    """A key that is not let in: why, for the caller to read. `kind` is a `tollgate.errors.v1.ErrorKind`.

    `principal` is whose key it was, where that is known: one that was revoked, or that has expired.
    """

    message: str
    kind: int = errors.ERROR_KIND_UNAUTHENTICATED
    principal: Principal | None = None


class Authenticator(Protocol):
    def cached(self, presented: bytes) -> Principal | Refused | None:
        """What is known of the key without I/O; None: ask `authenticate`."""
        ...

    async def authenticate(self, presented: bytes) -> Principal | Refused:
        """What the store says of the key. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class EdgeModel:
    """A public model. `mode` is chat, embedding or image; limits are in tokens, 0 where not known."""

    name: str
    mode: str
    owned_by: str
    created: int
    context: int = 0
    max_output: int = 0
    fallbacks: tuple[str, ...] = ()
    """Models that may answer instead, for any reason but the budget."""
    cheaper: tuple[str, ...] = ()
    """Models that are asked instead, in order, where the balance is too low for this one."""
    abilities: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    retires: str = ""
    """The day on which the provider switches it off, as 2027-04-01."""
    searches: int = 0
    """How many searches of the web are held for where a chat asks for none: it makes them on its own."""
    runs_tools: bool = False
    """A channel that may serve it speaks the Responses API, so that tools run at the provider."""


@dataclass(frozen=True, slots=True)
class EdgeVersion:
    """The configuration in force as edge needs it: models by route group and name, and the prices."""

    digest: str
    sequence: int
    price_table: PriceTable
    models: dict[str, dict[str, EdgeModel]] = field(default_factory=dict)
    headers: tuple[bytes, ...] = ()
    """Lower-case names of the headers that routers look at."""

    def model(self, route_group: str, name: str) -> EdgeModel | None:
        """Returns the model as this route group reaches it."""
        found = self.models.get(route_group)
        return None if found is None else found.get(name)

    def models_of(self, route_group: str) -> Sequence[EdgeModel]:
        """Returns all models of a route group, by name."""
        return tuple(self.models.get(route_group, {}).values())


@dataclass(frozen=True, slots=True)
class Downgrade:
    """What a budget turns a request to; `told` is the value of the header `x-tollgate-downgraded`."""

    model: str
    told: str


class CurrentVersion(Protocol):
    def current(self) -> EdgeVersion | None:
        """The version in force; None before the first was published."""
        ...


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A stored API key without its secret. Times are microseconds since the epoch; 0 is never."""

    id: str
    organization_id: str
    project_id: str
    name: str
    last_four: str
    created_at_us: int
    revoked_at_us: int = 0
    expires_at_us: int = 0
    models: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    cidrs: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    member: str = ""
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class LimitedOwner:
    """A key, project or organization with its limits. `prepaid` is None for keys and projects."""

    kind: str
    id: str
    name: str
    organization_id: str
    limits: Limits
    prepaid: bool | None = None


@dataclass(frozen=True, slots=True)
class KeyLookup:
    """What a keyed hash belongs to."""

    principal: Principal
    revoked_at_us: int = 0
    expires_at_us: int = 0


@dataclass(frozen=True, slots=True)
class Organization:
    """A tenant that pays, in one currency. Time in microseconds since the epoch."""

    id: str
    name: str
    currency: str
    created_at_us: int


@dataclass(frozen=True, slots=True)
class Project:
    """A group inside an organization: what it pays (price group), and which channels it may use (route group)."""

    id: str
    organization_id: str
    name: str
    price_group: str
    route_group: str
    created_at_us: int = 0


@dataclass(frozen=True, slots=True)
class StoredVersion:
    digest: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed up to `sequence`: the keyed hashes of keys that were made or changed (None: anything may have).

    `tenants` are ids of projects and organizations whose keys are to be read again.
    """

    sequence: int
    key_hashes: tuple[str, ...] | None = ()
    versions: bool = False
    tenants: tuple[str, ...] = ()


class KeyStore(Protocol):
    """API keys and access tokens. All raise StoreUnavailable; every write moves the change sequence."""

    async def find_keys(self, hashes: Sequence[str]) -> tuple[Mapping[str, KeyLookup], int]:
        """Returns what each keyed hash belongs to, where it is known, and the change sequence as of the same moment."""
        ...

    async def changes_since(self, sequence: int) -> Changes:
        """Returns what changed after `sequence`."""
        ...

    async def add_key(self, record: KeyRecord, key_hash: str, pepper_id: str) -> None:
        """Stores a key. Raises Conflict when the project is not of the organization."""
        ...

    async def add_keys(self, records: Mapping[str, KeyRecord], pepper_id: str) -> None:
        """Stores keys by their hash, all or none. Raises Conflict as `add_key` does, or when a hash is there."""
        ...

    async def list_keys(self, organization_id: str, limit: int, before: str) -> Sequence[KeyRecord]:
        """Returns keys, newest first, with ids below `before` (empty: from the newest); empty id: of everybody."""
        ...

    async def key(self, key_id: str) -> KeyRecord | None:
        """Returns a key by its id."""
        ...

    async def revoke_key(self, organization_id: str, key_id: str, at_us: int) -> KeyRecord | None:
        """Marks a key as revoked, once; None when the organization (empty: any) has no such key."""
        ...

    async def add_token(
        self, token_id: str, name: str, last_four: str, key_hash: str, pepper_id: str, at_us: int
    ) -> None:
        """Stores an operator's access token."""
        ...


class LimitStore(Protocol):
    """Limits by the id of their key, project or organization. All raise StoreUnavailable."""

    async def limits_of(self, owner_id: str) -> LimitedOwner | None:
        """Returns the owner with its limits; None when there is none of this id."""
        ...

    async def set_limits(
        self, owner_id: str, limits: Mapping[str, int | str], at_us: int, *, prepaid: bool | None = None
    ) -> LimitedOwner | None:
        """Sets some fields of `Limits` and, of an organization, who pays when; moves the change sequence."""
        ...

    async def list_limited(self) -> Sequence[LimitedOwner]:
        """Returns whoever has a limit or pays later, at most a thousand of a kind."""
        ...


class TenantStore(Protocol):
    """Organizations and projects. All raise StoreUnavailable."""

    async def ensure_project(
        self, organization_id: str, organization: str, currency: str, project_id: str, project: str, at_us: int
    ) -> Project:
        """Returns the project of that name in the organization of that name; makes with these ids what is missing."""
        ...

    async def add_organization(self, organization: Organization) -> None:
        """Stores an organization. Raises Conflict when the name is taken."""
        ...

    async def list_organizations(self, limit: int, before: str, name: str) -> Sequence[Organization]:
        """Returns organizations, newest first, with ids below `before` (empty: all) and of this name (empty: any)."""
        ...

    async def find_organization(self, organization_id: str) -> Organization | None:
        """Returns the organization of this id."""
        ...

    async def add_project(self, project: Project) -> None:
        """Stores a project. Raises Conflict when its organization has one of that name, or does not exist."""
        ...

    async def list_projects(self, organization_id: str, limit: int, before: str, name: str) -> Sequence[Project]:
        """Returns projects as `list_organizations` does; empty organization: of everybody."""
        ...

    async def find_project(self, organization_id: str, project_id: str) -> Project | None:
        """Returns the project, or the organization's oldest one when `project_id` is empty."""
        ...

    async def is_done(self, mark: str) -> bool:
        """Says whether a step that is done once has been done."""
        ...

    async def set_done(self, mark: str, at_us: int) -> None:
        """Notes that a step has been done."""
        ...


class VersionStore(Protocol):
    """Declared resources by owner and the versions made of them. All raise StoreUnavailable."""

    async def declared(self) -> dict[str, bytes]:
        """Returns what each owner declares, as JSON."""
        ...

    async def publish(self, declared: dict[str, bytes], digest: str, document: bytes, at_us: int) -> StoredVersion:
        """Replaces what the owners in `declared` declare (empty bytes: nothing more) and puts the version in force.

        A version that is in force already is not published again.
        """
        ...

    async def current(self) -> StoredVersion | None:
        """Returns the version in force."""
        ...

    async def document(self, digest: str) -> bytes | None:
        """Returns a version's bytes."""
        ...


class BillingPort(Protocol):
    """Billing over gRPC. All raise PublicError."""

    async def grant(self, request: billing.GrantRequest) -> billing.GrantResponse:
        """Credits a wallet once per idempotency key."""
        ...

    async def balance(self, request: billing.GetBalanceRequest) -> billing.GetBalanceResponse:
        """What the ledger and the wallet say."""
        ...

    async def rebuild_wallet(self, request: billing.RebuildWalletRequest) -> billing.RebuildWalletResponse:
        """Has a missing wallet made anew."""
        ...

    async def usage(self, request: billing.QueryUsageRequest) -> billing.QueryUsageResponse:
        """Sums over usage rows."""
        ...

    async def requests(self, request: billing.ListRequestsRequest) -> billing.ListRequestsResponse:
        """Rows of single requests."""
        ...

    async def evidence(self, request: billing.GetEvidenceRequest) -> billing.GetEvidenceResponse:
        """All that is known of one request; without rows when that is nothing."""
        ...

    async def compare_books(self, request: billing.CompareBooksRequest) -> billing.CompareBooksResponse:
        """Whether usage rows, ledger, wallets and holds agree; may take minutes."""
        ...

    async def compare_provider_costs(
        self, request: billing.CompareProviderCostsRequest
    ) -> billing.CompareProviderCostsResponse:
        """A provider's export of costs beside ours."""
        ...

    async def status(self) -> billing.GetStatusResponse:
        """Billing's lag and counts."""
        ...

    async def views(self, request: billing.ListViewsRequest) -> billing.ListViewsResponse:
        """The questions about usage that are kept as views."""
        ...

    async def view(self, request: billing.QueryViewRequest) -> billing.QueryViewResponse:
        """The answer of one of them."""
        ...

    async def sql(self, request: billing.RunSqlRequest) -> billing.RunSqlResponse:
        """The answer of a SELECT."""
        ...

    async def export(self, request: billing.ExportUsageRequest) -> AsyncIterator[bytes]:
        """Returns the pieces of a Parquet file, once there is a first one."""
        ...

    async def isolation(self, request: billing.DescribeIsolationRequest) -> billing.DescribeIsolationResponse:
        """Statements for a server of the usage store."""
        ...


class MediaPort(Protocol):
    """media-jobs over gRPC. All raise PublicError."""

    async def create(self, request: media.CreateJobRequest) -> media.CreateJobResponse:
        """Makes a job, once per idempotency key; without one where a limit refused it."""
        ...

    async def get(self, request: media.GetJobRequest) -> media.Job:
        """A job as it is now."""
        ...

    async def wait(self, request: media.WaitJobRequest) -> media.Job:
        """A job once it ended or the wait ran out."""
        ...

    async def list(self, request: media.ListJobsRequest) -> media.ListJobsResponse:
        """Jobs, newest first."""
        ...

    async def read_asset(self, request: media.ReadAssetRequest) -> tuple[media.Asset, AsyncIterator[bytes]]:
        """Returns the asset and its bytes in pieces."""
        ...


class RouterPort(Protocol):
    async def describe(self) -> Sequence[tuple[str, router.DescribeRouterResponse | None]]:
        """Returns each router's address and state; None where it did not answer."""
        ...

    async def explain(
        self, request: router.ExplainRouteRequest
    ) -> Sequence[tuple[str, router.ExplainRouteResponse | None]]:
        """Returns where each router would send a request; None where it did not answer. Raises PublicError."""
        ...

    async def set_channel_mode(self, request: router.SetChannelModeRequest) -> Sequence[tuple[str, bool]]:
        """Tells every router; returns which of them took it. Raises PublicError when one refuses."""
        ...

    async def response(self, project_id: str, response_id: str) -> bytes:
        """Returns a stored response as JSON. Raises PublicError."""
        ...

    async def input_items(self, request: responses.ListInputItemsRequest) -> bytes:
        """Returns a page of the input of a stored response as JSON. Raises PublicError."""
        ...

    async def forget_response(self, project_id: str, response_id: str) -> None:
        """Deletes a stored response. Raises PublicError."""
        ...

    async def cancel_response(self, project_id: str, response_id: str) -> bytes:
        """Cancels a response of the background and returns it as JSON. Raises PublicError."""
        ...
