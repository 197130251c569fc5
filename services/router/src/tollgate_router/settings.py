"""Process settings of the router: `TOLLGATE_ROUTER_<NAME>`."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, FilePath, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from tollgate_kit.settings import Address, Addresses, EventLogUrl, ServiceSettings, SqlUrl
from tollgate_resources.ports import DEFAULT_PORTS, Ports, checked_ports
from tollgate_router.domain.health.policy import HealthPolicy


class RouterSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TOLLGATE_ROUTER_")

    address: Address = Field(description="Where Exchange and administration are served: `host:port` or `unix:PATH`.")
    config_addresses: Addresses = Field(description="Edge's gRPC addresses, separated by commas.")
    state_directory: Path = Field(description="Keeps a copy of the configuration, to start from while edge is away.")
    spool_directory: Path = Field(description="Keeps usage events until the event log has them.")
    spool_max_bytes: int = Field(
        default=256 * 1024 * 1024,
        gt=64 * 1024,
        description="Size of the spool at which new requests are refused, in bytes, less 64 KiB that those which run "
        "may need.",
    )
    spool_fsync: bool = Field(
        default=False,
        description="Wait until the disk has what is written to the spool, once for all that is written at a time. "
        "Without it events outlive a killed process, and not a machine that loses power in the seconds before the "
        "event log has them.",
    )
    event_log_url: EventLogUrl = Field(description="`sqlite:///PATH` or `kafka://HOST:PORT[,HOST:PORT]`.")
    trace_sample_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of traces that are kept besides errors, retries, fallbacks and slow ones.",
    )
    trace_slow_seconds: float = Field(default=30.0, gt=0, description="Requests that take longer are always traced.")
    exchange_pause_ms: float = Field(
        default=1.0,
        ge=0,
        description="Least time between two writes of a stream when a frame waits that begins or ends something. "
        "Longer joins more requests into one message and costs latency. A stream whose writes carry several frames "
        "waits twice as long.",
    )
    exchange_data_pause_ms: float = Field(
        default=3.0,
        ge=0,
        description="Least time between two writes when only stream data waits. After a write with data of a dozen "
        "streams and more nothing is read for as long, 3 ms at most, so that one turn reads all that came.",
    )
    stream_age_seconds: float = Field(default=600.0, gt=0, description="Age at which a stream is renewed.")
    max_attempts: int = Field(default=5, ge=1, description="Upstream calls that one request may cost.")
    retry_ratio: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Extra attempts that the failures of a channel may cause, as a share of its first attempts within "
        "ten seconds.",
    )
    retry_floor: int = Field(
        default=11,
        ge=0,
        description="Extra attempts within ten seconds that are allowed however few first ones there were: as many as "
        "the failures that open a breaker and its first probe, so that nobody sees the outage of a quiet channel. From "
        "55 first attempts on the share alone counts.",
    )
    breaker_failures: int = Field(
        default=10, ge=1, description="Failures in a row of a model of a channel that keep requests away from it."
    )
    breaker_ratio: float = Field(
        default=0.5, gt=0, le=1, description="Share of failures that does the same, over ten seconds."
    )
    breaker_ratio_failures: int = Field(
        default=20, ge=1, description="Fewest failures within the ten seconds for the share to count."
    )
    breaker_seconds: float = Field(
        default=5.0,
        gt=0,
        description="How long requests stay away, then one is let through as a probe. Doubled each time it fails.",
    )
    breaker_max_seconds: float = Field(default=60.0, gt=0, description="Longest that requests stay away at a time.")
    bench_seconds: float = Field(
        default=10.0,
        ge=0,
        description="How long a credential rests that a provider refused (401, 402, 403, no balance), then one request "
        "is let through as a probe. Doubled each time it is refused; 0 lets nothing rest.",
    )
    bench_max_seconds: float = Field(default=600.0, gt=0, description="Longest that a credential rests at a time.")
    latency_half_life_seconds: float = Field(
        default=30.0, gt=0, description="Age at which a measured first-byte latency counts half (lowest_latency)."
    )
    max_body_memory_bytes: int = Field(
        default=256 * 1024 * 1024,
        gt=0,
        description="All request bodies of a process together that are longer than 64 KiB, in bytes; a request whose "
        "body finds no room is refused and its caller told to come back (503). Edges have a limit of their own each.",
    )
    max_reply_bytes: int = Field(
        default=64 * 1024 * 1024,
        gt=0,
        description="Largest reply that is not a stream, and most that is held of a stream, in bytes.",
    )
    max_gathered_reply_bytes: int = Field(
        default=256 * 1024 * 1024,
        gt=0,
        description="All replies of a process together that are held since they are not whole yet, in bytes, each from "
        "256 KiB on; the one that finds no room is given up and its caller told to come back (503).",
    )
    max_waiting_reply_bytes: int = Field(
        default=512 * 1024 * 1024,
        gt=0,
        description="All such replies of a process together that wait for callers who read slowly, in bytes; one above "
        "it is handed to edge at once, which closes the slowest callers.",
    )
    connect_timeout_seconds: float = Field(default=10.0, gt=0, description="Time to connect to a provider.")
    first_byte_timeout_seconds: float = Field(
        default=300.0, gt=0, description="Time from a request's last byte to the reply's first."
    )
    idle_timeout_seconds: float = Field(default=120.0, gt=0, description="Longest silence within a reply.")
    total_timeout_seconds: float = Field(default=1800.0, gt=0, description="Longest an upstream call may take.")
    max_connections_per_origin: int = Field(default=1024, ge=1, description="Open connections to one provider origin.")
    keep_idle_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Time after which an unused connection is closed; sooner where a provider says so.",
    )
    connection_age_seconds: float = Field(
        default=300.0,
        gt=0,
        description="Age at which a connection serves no further request, less up to a quarter; "
        "so moved names and renewed certificates are followed.",
    )
    warm_connections: int = Field(
        default=0,
        ge=0,
        description="Connections opened to every origin when a configuration comes into force, "
        "so that first requests wait for no handshake.",
    )
    ca_file: FilePath | None = Field(default=None, description="Certificates to trust besides the system's, as PEM.")

    responses_retention_days: int = Field(
        default=0,
        ge=0,
        le=3650,
        description="How long responses of the Responses API are stored for later turns, sealed, unless callers say "
        "`store: false`; 0 stores none, and who asks for it is refused.",
    )
    responses_database_url: SqlUrl = Field(
        default=SecretStr(""), description="SQLAlchemy URL, SQLite or PostgreSQL (psycopg), of stored responses."
    )
    responses_key_file: Path | None = Field(
        default=None,
        description="Keys that stored responses are sealed with, 32 bytes in hex a line, the first for new ones; "
        "written (mode 0600) when it is absent. All routers need the same.",
    )
    responses_keys: SecretStr = Field(
        default=SecretStr(""), description="The same keys in this variable, separated by spaces, in place of a file."
    )
    egress_ports: Annotated[str, AfterValidator(checked_ports)] = Field(
        default=DEFAULT_PORTS,
        description="Ports that channels may be reached at: numbers and ranges, such as `443,8000-8999`. A channel "
        "with `private_network`, or a proxy with it, may use any.",
    )

    @field_validator("responses_keys")
    @classmethod
    def _are_keys(cls, value: SecretStr) -> SecretStr:
        if not all(re.fullmatch("[0-9a-fA-F]{64}", key) for key in value.get_secret_value().split()):
            raise ValueError("keys have 32 bytes in hex, separated by spaces: openssl rand -hex 32")
        return value

    @property
    def ports(self) -> Ports:
        """The ports that channels may be reached at."""
        return Ports(self.egress_ports, "TOLLGATE_ROUTER_EGRESS_PORTS")

    @model_validator(mode="after")
    def _has_a_place_for_responses(self) -> Self:
        keys = bool(self.responses_key_file) + bool(self.responses_keys.get_secret_value().strip())
        if self.responses_retention_days and not (self.responses_database_url.get_secret_value() and keys == 1):
            raise ValueError(
                "TOLLGATE_ROUTER_RESPONSES_RETENTION_DAYS: to store responses needs "
                "TOLLGATE_ROUTER_RESPONSES_DATABASE_URL, and one of TOLLGATE_ROUTER_RESPONSES_KEY_FILE and "
                "TOLLGATE_ROUTER_RESPONSES_KEYS"
            )
        return self

    def health_policy(self) -> HealthPolicy:
        """Returns the figures that the health of channels is judged by."""
        return HealthPolicy(
            consecutive_failures=self.breaker_failures,
            failure_ratio=self.breaker_ratio,
            ratio_failures=self.breaker_ratio_failures,
            open_first=self.breaker_seconds,
            open_last=max(self.breaker_seconds, self.breaker_max_seconds),
            bench_first=self.bench_seconds,
            bench_last=max(self.bench_seconds, self.bench_max_seconds),
            retry_ratio=self.retry_ratio,
            retry_floor=self.retry_floor,
            latency_half_life=self.latency_half_life_seconds,
        )
