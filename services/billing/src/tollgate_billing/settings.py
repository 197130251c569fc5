"""Process settings of billing: `TOLLGATE_BILLING_<NAME>`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from tollgate_billing.domain.webhook import MIN_SECRET_BYTES
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
    reconcile_seconds: float = Field(
        default=60.0, gt=0, description="How often wallets are compared with the ledger and expired holds given back."
    )
    payment_provider: Literal["", "simulated"] = Field(
        default="", description="Who takes money that is paid in; empty: nobody does."
    )
    payment_checkout_url: str = Field(
        default="", description="Where payers are sent; the payment's id is added. Needed with a provider."
    )
    payment_webhook_secret_file: str = Field(
        default="",
        validate_default=True,
        description="File with the secret that the provider signs its messages with, at least 24 bytes. "
        "Needed with a provider: without it billing does not start.",
    )
    failpoint: str = Field(
        default="", description="For tests: the step after which the process kills itself, such as `after_insert:2`."
    )

    @field_validator("payment_checkout_url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("an http:// or https:// address")
        return value

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

    def payment_secret(self) -> bytes:
        """Returns the secret that payment messages are signed with; empty without a provider."""
        return Path(self.payment_webhook_secret_file).read_bytes().strip() if self.payment_provider else b""

    @property
    def config_address_list(self) -> list[str]:
        return [part.strip() for part in self.config_addresses.split(",") if part.strip()]
