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
    clickhouse_cluster: str = Field(
        default="",
        pattern=r"^[\w{}.-]*$",
        description="Name of the cluster whose servers replicate the usage store, such as `{cluster}`; empty for one "
        "server. Set it before the first start. The replicated form has been parsed by the engine and not yet run.",
    )
    clickhouse_keeper_path: str = Field(
        default="/clickhouse/tables/{shard}/{database}/{table}",
        pattern=r"^/[\w{}/.-]+$",
        description="Where a replicated table keeps its log in Keeper.",
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
    # Bounded so that no time added to a row's is beyond what the engine can write, which would be over at once.
    usage_raw_months: int = Field(
        default=25, ge=0, le=600, description="Usage rows are kept at least this long, in months; 0 is for good."
    )
    usage_minute_days: int = Field(
        default=14, ge=0, le=3_650, description="Sums by minute are kept at least this long, in days; 0 is for good."
    )
    usage_hour_months: int = Field(
        default=18, ge=0, le=600, description="Sums by hour are kept at least this long, in months; 0 is for good."
    )
    usage_day_years: int = Field(
        default=7, ge=0, le=50, description="Sums by day are kept at least this long, in years; 0 is for good."
    )
    usage_storage_policy: str = Field(
        default="", pattern=r"^\w*$", description="Storage policy of the usage rows' table; empty leaves the server's."
    )
    usage_cold_days: int = Field(
        default=0,
        ge=0,
        le=3_650,
        description="Usage rows older than this move to the cold volume, in days; 0 is never.",
    )
    usage_cold_volume: str = Field(
        default="cold", pattern=r"^\w+$", description="The volume of the storage policy that old usage rows move to."
    )
    request_log_days: int = Field(
        default=30, gt=0, le=3650, description="How long refused requests are kept, in days; a change is for new ones."
    )
    # Below the time that edge waits for billing.
    usage_sql_seconds: int = Field(
        default=10, gt=0, le=14, description="How long one SQL query of an operator may run, in seconds."
    )
    usage_sql_memory_bytes: int = Field(
        default=1_000_000_000, gt=0, description="How much memory one SQL query of an operator may take, in bytes."
    )
    usage_sql_rows: int = Field(
        default=10_000, gt=0, le=10_000, description="How many rows one SQL query of an operator may return."
    )
    reconcile_seconds: float = Field(
        default=60.0, gt=0, description="How often wallets are compared with the ledger and expired holds given back."
    )
    failpoint: str = Field(
        default="", description="For tests: the step after which the process kills itself, such as `after_insert:2`."
    )

    @property
    def config_address_list(self) -> list[str]:
        return [part.strip() for part in self.config_addresses.split(",") if part.strip()]
