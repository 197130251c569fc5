"""Process settings of billing: `TOLLGATE_BILLING_<NAME>`."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from tollgate_billing.domain.poison import POISON_LIMIT
from tollgate_billing.domain.webhook import MIN_SECRET_BYTES
from tollgate_kit.secret_files import read_secrets
from tollgate_kit.settings import (
    HOST_PORT,
    Address,
    Addresses,
    EventLogUrl,
    HttpUrl,
    RedisUrl,
    ServiceSettings,
    SqlUrl,
    matching,
)
from tollgate_resources.ports import DEFAULT_PORTS, Ports, checked_ports

_KEY_BYTES: Final = 32
UsageStoreUrl = Annotated[
    SecretStr,
    matching(
        rf"chdb:///.+|https?://(.*@)?{HOST_PORT}(/[^/?]*)?(\?.*)?",
        "`chdb:///DIRECTORY` or `http[s]://USER:PASSWORD@HOST:PORT/DATABASE`",
    ),
]


class BillingSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TOLLGATE_BILLING_")

    address: Address = Field(description="Where the billing service is served: `host:port` or `unix:PATH`.")
    config_addresses: Addresses = Field(description="Addresses of edge's configuration service, separated by commas.")
    state_directory: Path = Field(description="Keeps the last configuration version to start from.")
    database_url: SqlUrl = Field(description="SQLAlchemy URL of the ledger, SQLite or PostgreSQL (psycopg).")
    clickhouse_dsn: UsageStoreUrl = Field(
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
    redis_url: RedisUrl = Field(description="`unix:///PATH` or `redis://[:PASSWORD@]HOST:PORT/0`.")
    event_log_url: EventLogUrl = Field(description="`sqlite:///PATH` or `kafka://HOST:PORT[,HOST:PORT]`.")

    batch_max_events: int = Field(
        default=50_000,
        gt=0,
        le=50_000,
        description="A batch closes at this many events, which only a backlog has. Fewer take less memory and more of "
        "the processors.",
    )
    batch_max_bytes: int = Field(
        default=32 * 1024 * 1024, gt=0, description="A batch closes at this size of its events, in bytes."
    )
    batch_age_seconds: float = Field(
        default=0.5, gt=0, le=10, description="A batch closes when its first event has waited this long."
    )
    poison_limit: int = Field(
        default=POISON_LIMIT,
        ge=0,
        description="More records of a partition on end that cannot be used stop it, until billing is started again; "
        "0 sets all of them aside.",
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
    unbooked_hold_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="How long a settled hold waits for its usage event, in seconds, before it is named and, where"
        " billing has kept up for as long, booked as estimated with what it was settled with.",
    )
    payment_provider: Literal["", "simulated"] = Field(
        default="", description="Who takes money that is paid in; empty: nobody does."
    )
    payment_checkout_url: HttpUrl = Field(
        default="", description="Where payers are sent; the payment's id is added. Needed with a provider."
    )
    payment_webhook_secret_file: str = Field(
        default="",
        validate_default=True,
        description="File with the secret that the provider signs its messages with, at least 24 bytes. "
        "Needed with a provider: without it billing does not start.",
    )
    comparison_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="How often usage rows, ledger, wallets and holds are compared with each other.",
    )
    comparison_hours: int = Field(
        default=24, gt=0, le=24 * 90, description="How far back batches are compared then, in hours."
    )
    alert_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How often billing looks for what operators have to know of the books, in seconds.",
    )
    alert_lag_seconds: float = Field(
        default=300.0,
        gt=0,
        description="Operators are told when the oldest event that is not booked is older than this, in seconds.",
    )
    runbook_url: HttpUrl = Field(
        default="",
        description="Where the pages of docs/runbooks are published; notices about the books link them there. Empty: "
        "their path in a checkout.",
    )
    notify_private_network: bool = Field(
        default=False,
        description="Lets notifications go to loopback and private addresses, to any port, and over plain HTTP.",
    )
    notify_ports: Annotated[str, AfterValidator(checked_ports)] = Field(
        default=DEFAULT_PORTS,
        description="Ports that notifications may go to: numbers and ranges, such as `443,8000-8999`.",
    )
    secrets_key_file: Path | None = Field(
        default=None,
        description="Keys that secrets in SQL are sealed with: 32 bytes in hex per line, the current one first. By "
        "default `secrets.key` in the state directory, written (mode 0600) when it is absent. Who loses them makes "
        "destinations anew.",
    )
    secrets_keys: SecretStr = Field(
        default=SecretStr(""), description="The same keys in this variable, separated by spaces, in place of a file."
    )
    smtp_host: str = Field(default="", description="The mail server that notifications leave by; empty: no mail.")
    smtp_port: int = Field(default=587, gt=0, le=65_535, description="Its port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the way to the mail server is kept secret."
    )
    smtp_sender: str = Field(default="", description="The address that mail is from. Needed with a mail server.")
    smtp_user: str = Field(default="", description="Who logs in at the mail server; empty: nobody.")
    smtp_password_file: str = Field(
        default="", validate_default=True, description="File with the password of that user. Needed with a user."
    )
    failpoint: str = Field(
        default="",
        description="For tests: the step after which the process kills itself, such as `after_insert:2`, or stands "
        "still, such as `after_insert:stop`.",
    )

    @property
    def notify_port_list(self) -> Ports:
        """The ports that notifications may go to."""
        return Ports(self.notify_ports, "TOLLGATE_BILLING_NOTIFY_PORTS")

    @field_validator("payment_webhook_secret_file")
    @classmethod
    def _a_secret(cls, value: str, info: ValidationInfo) -> str:
        if not info.data.get("payment_provider"):
            return value
        if not info.data.get("payment_checkout_url"):
            raise ValueError("TOLLGATE_BILLING_PAYMENT_CHECKOUT_URL is needed with a payment provider")
        if not value:
            raise ValueError("a payment provider needs a file with its secret")
        try:
            secret = Path(value).read_bytes().strip()
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from None
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the secret in it has {len(secret)} bytes, not at least {MIN_SECRET_BYTES}")
        return value

    @field_validator("secrets_key_file")
    @classmethod
    def _keys(cls, value: Path | None) -> Path | None:
        if value is None or not value.exists():
            return value
        try:
            _check_keys(value.read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from None
        return value

    @field_validator("secrets_keys")
    @classmethod
    def _keys_here(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if value.get_secret_value().strip():
            _check_keys(value.get_secret_value())
            if info.data.get("secrets_key_file") is not None:
                raise ValueError("is there beside TOLLGATE_BILLING_SECRETS_KEY_FILE: set one of them")
        return value

    @field_validator("smtp_password_file")
    @classmethod
    def _a_mail_server(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("smtp_host") and "@" not in info.data.get("smtp_sender", ""):
            raise ValueError("TOLLGATE_BILLING_SMTP_SENDER is needed with a mail server: an address")
        if not info.data.get("smtp_user"):
            return value
        try:
            if not Path(value).read_text(encoding="utf-8").strip():
                raise ValueError("the password in it is empty")
        except OSError as error:
            raise ValueError(f"a user needs a file with the password: {error.strerror}") from None
        return value

    def smtp_password(self) -> str:
        """Returns the password of the mail server's user; empty without one."""
        return Path(self.smtp_password_file).read_text(encoding="utf-8").strip() if self.smtp_user else ""

    def sealing_keys(self) -> tuple[bytes, ...]:
        """Returns the keys that secrets in SQL are sealed with, of 32 bytes each, the current one first."""
        if here := self.secrets_keys.get_secret_value().split():
            return tuple(map(bytes.fromhex, here))
        return read_secrets(self.secrets_key_file or self.state_directory / "secrets.key")

    def payment_secret(self) -> bytes:
        """Returns the secret that payment messages are signed with; empty without a provider."""
        return Path(self.payment_webhook_secret_file).read_bytes().strip() if self.payment_provider else b""


def _check_keys(text: str) -> None:
    try:
        keys = [bytes.fromhex(line) for line in text.split()]
    except ValueError:
        keys = []
    if not keys or any(len(key) != _KEY_BYTES for key in keys):
        raise ValueError(f"keys have {_KEY_BYTES} bytes in hex, one in each line: openssl rand -hex {_KEY_BYTES}")
