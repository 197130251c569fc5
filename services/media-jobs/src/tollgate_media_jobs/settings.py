"""Process settings of media-jobs: `TOLLGATE_MEDIA_JOBS_<NAME>`."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from tollgate_kit.settings import ServiceSettings
from tollgate_resources.ports import DEFAULT_PORTS, Ports, checked_ports


class MediaJobsSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TOLLGATE_MEDIA_JOBS_", frozen=True, extra="ignore")

    address: str = Field(description="Where MediaService is served: `host:port` or `unix:PATH`.")
    config_addresses: str = Field(description="Edge's gRPC addresses, separated by commas.")
    state_directory: Path = Field(description="Keeps a copy of the configuration, to start from while edge is away.")
    database_url: str = Field(description="SQLAlchemy URL: `sqlite:////PATH` or `postgresql+psycopg://…`.")
    redis_url: str = Field(description="Where holds are kept: `unix:///PATH` or `redis://[:PASSWORD@]HOST:PORT/0`.")
    event_log_url: str = Field(description="`sqlite:///PATH` or `kafka://HOST:PORT[,HOST:PORT]`.")
    asset_store_url: str = Field(
        description="Where results are kept: `file:///DIRECTORY`, `s3://BUCKET/PREFIX` (with the usual AWS_* "
        "variables) or `memory:///` (gone with the process)."
    )
    trace_sample_ratio: float = Field(
        default=0.01, ge=0, le=1, description="Share of traces that are kept besides failed jobs and second calls."
    )
    max_running: int = Field(default=16, ge=1, le=1000, description="Jobs that one process works on at a time.")
    max_attempts: int = Field(default=3, ge=1, description="Calls to providers that one job may cost.")
    idle_poll_seconds: float = Field(
        default=2.0, gt=0, description="How often the queue is looked at for work that other processes left."
    )
    lease_seconds: float = Field(
        default=15.0, gt=0, description="Age at which the work of a process that fell silent is taken over."
    )
    unknown_grace_seconds: float = Field(
        default=30.0, ge=0, description="How long a lost answer is waited for before its job fails without a charge."
    )
    deadline_seconds: float = Field(
        default=1800.0, gt=0, description="Age at which a job that no provider has taken fails."
    )
    hold_seconds: int = Field(
        default=3600, ge=10, description="Life of a hold; renewed every third of it while the job is open."
    )
    slot_ttl_seconds: int = Field(
        default=60,
        ge=5,
        description="Life of a job's place among the open requests of a limit; renewed every third of it while the job "
        "is open.",
    )
    connect_timeout_seconds: float = Field(default=10.0, gt=0, description="Time to connect to a provider.")
    answer_timeout_seconds: float = Field(
        default=600.0, gt=0, description="Longest a call to a provider may take, its answer's last byte included."
    )
    fetch_timeout_seconds: float = Field(
        default=120.0, gt=0, description="Longest one result may take to be read from a provider's address."
    )
    ingest_tries: int = Field(default=5, ge=1, description="Tries to copy a job's results before it fails.")
    max_asset_bytes: int = Field(default=50 * 1024 * 1024, gt=0, description="Largest single result, in bytes.")
    max_answer_bytes: int = Field(
        default=128 * 1024 * 1024, gt=0, description="Largest answer of a provider, results in it included, in bytes."
    )
    max_pixels: int = Field(default=100_000_000, gt=0, description="Largest result, in pixels.")
    max_wait_seconds: float = Field(default=900.0, gt=0, description="Longest a caller can wait for a job in one call.")
    egress_ports: Annotated[str, AfterValidator(checked_ports)] = Field(
        default=DEFAULT_PORTS,
        description="Ports that channels and results may be reached at: numbers and ranges, such as `443,8000-8999`. A "
        "channel with `private_network`, and its results, may use any.",
    )
    ca_file: Path | None = Field(default=None, description="Certificates to trust in place of the system's, as PEM.")
    outbox_lease_seconds: float = Field(
        default=30.0, gt=0, description="Age at which an event that a silent process had taken is sent by another."
    )
    failpoint: str = Field(
        default="", description="For crash tests: the process kills itself on reaching the place of this name."
    )

    @property
    def ports(self) -> Ports:
        """The ports that channels and results may be reached at."""
        return Ports(self.egress_ports, "TOLLGATE_MEDIA_JOBS_EGRESS_PORTS")

    @property
    def config_address_list(self) -> list[str]:
        return [part.strip() for part in self.config_addresses.split(",") if part.strip()]
