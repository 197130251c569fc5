"""Process settings of the router: `TOLLGATE_ROUTER_<NAME>`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from tollgate_kit.settings import ServiceSettings


class RouterSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TOLLGATE_ROUTER_", frozen=True, extra="ignore")

    address: str = Field(description="Where Exchange and administration are served: `host:port` or `unix:PATH`.")
    config_addresses: str = Field(description="Edge's gRPC addresses, separated by commas.")
    state_directory: Path = Field(description="Keeps a copy of the configuration, to start from while edge is away.")
    spool_directory: Path = Field(description="Keeps usage events until the event log has them.")
    spool_max_bytes: int = Field(
        default=256 * 1024 * 1024, gt=0, description="Size of the spool at which new requests are refused, in bytes."
    )
    event_log_url: str = Field(description="`sqlite:///PATH` or `kafka://HOST:PORT[,HOST:PORT]`.")
    trace_sample_ratio: float = Field(
        default=0.01, ge=0, le=1, description="Share of traces that are kept besides errors, retries and slow ones."
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
        default=3.0, ge=0, description="Least time between two writes when only stream data waits."
    )
    stream_age_seconds: float = Field(default=600.0, gt=0, description="Age at which a stream is renewed.")
    max_attempts: int = Field(default=3, ge=1, description="Upstream calls that one request may cost.")
    max_reply_bytes: int = Field(
        default=64 * 1024 * 1024, gt=0, description="Largest reply that is not a stream, in bytes."
    )
    connect_timeout_seconds: float = Field(default=10.0, gt=0, description="Time to connect to a provider.")
    first_byte_timeout_seconds: float = Field(
        default=300.0, gt=0, description="Time from a request's last byte to the reply's first."
    )
    idle_timeout_seconds: float = Field(default=120.0, gt=0, description="Longest silence within a reply.")
    total_timeout_seconds: float = Field(default=1800.0, gt=0, description="Longest an upstream call may take.")
    max_connections_per_origin: int = Field(default=1024, ge=1, description="Open connections to one provider origin.")
    keep_idle_seconds: float = Field(default=60.0, gt=0, description="Age at which an unused connection is closed.")
    ca_file: Path | None = Field(default=None, description="Certificates to trust besides the system's, as PEM.")

    @property
    def config_address_list(self) -> list[str]:
        return [part.strip() for part in self.config_addresses.split(",") if part.strip()]
