"""Process settings of billing: `TOLLGATE_BILLING_<NAME>`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from tollgate_kit.settings import ServiceSettings


class BillingSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TOLLGATE_BILLING_", frozen=True, extra="ignore")

    address: str = Field(description="Where the billing service is served: `host:port` or `unix:PATH`.")
    config_addresses: str = Field(description="Addresses of edge's configuration service, separated by commas.")
    state_directory: Path = Field(description="Keeps the last configuration version to start from.")
    database_url: str = Field(description="SQLAlchemy URL of the ledger, SQLite or PostgreSQL (psycopg).")
    clickhouse_dsn: str = Field(
        description="The usage store: `chdb:///DIRECTORY` in this process, or `http[s]://USER:PASSWORD@HOST:PORT/DATABASE`."
    )
    redis_url: str = Field(description="`unix:///PATH` or `redis://[:PASSWORD@]HOST:PORT/0`.")
    event_log_url: str = Field(description="`sqlite:///PATH` or `kafka://HOST:PORT[,HOST:PORT]`.")

    batch_max_events: int = Field(default=5_000, gt=0, le=10_000, description="A batch closes at this many events.")
    batch_max_bytes: int = Field(
        default=8 * 1024 * 1024, gt=0, description="A batch closes at this size of its events, in bytes."
    )
    batch_age_seconds: float = Field(
        default=0.5, gt=0, le=10, description="A batch closes when its first event has waited this long."
    )
    request_log_days: int = Field(
        default=30, gt=0, le=3650, description="How long refused requests are kept, in days; a change is for new ones."
    )
    reconcile_seconds: float = Field(
        default=60.0, gt=0, description="How often wallets are compared with the ledger and expired holds given back."
    )
    comparison_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="How often usage rows, ledger, wallets and holds are compared with each other.",
    )
    comparison_hours: int = Field(
        default=24, gt=0, le=24 * 90, description="How far back batches are compared then, in hours."
    )
    failpoint: str = Field(
        default="", description="For tests: the step after which the process kills itself, such as `after_insert:2`."
    )

    @property
    def config_address_list(self) -> list[str]:
        return [part.strip() for part in self.config_addresses.split(",") if part.strip()]
