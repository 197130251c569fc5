"""Adapters of the composition root that are made of settings alone."""

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.notice_sender import MailServer
from tollgate_billing.adapters.usage_schema import Cluster, Retention
from tollgate_billing.adapters.usage_sql import ClickHouseUsageSql
from tollgate_billing.ports import SqlLimits
from tollgate_billing.settings import BillingSettings


def usage_store(settings: BillingSettings) -> ClickHouse:
    """Returns the usage store."""
    name = settings.clickhouse_cluster
    return ClickHouse(
        settings.clickhouse_dsn.get_secret_value(),
        cluster=Cluster(name, settings.clickhouse_keeper_path) if name else None,
        retention=Retention(
            raw_months=settings.usage_raw_months,
            minute_days=settings.usage_minute_days,
            hour_months=settings.usage_hour_months,
            day_years=settings.usage_day_years,
            cold_days=settings.usage_cold_days,
            cold_volume=settings.usage_cold_volume,
            storage_policy=settings.usage_storage_policy,
        ),
    )


def mail_server(settings: BillingSettings) -> MailServer | None:
    """Returns the mail server that notices leave by; None for no mail."""
    if not settings.smtp_host:
        return None
    return MailServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        sender=settings.smtp_sender,
        security=settings.smtp_security,
        user=settings.smtp_user,
        password=settings.smtp_password(),
    )


def usage_sql(settings: BillingSettings) -> ClickHouseUsageSql:
    """Returns what runs an operator's own SQL."""
    limits = SqlLimits(
        seconds=settings.usage_sql_seconds,
        memory_bytes=settings.usage_sql_memory_bytes,
        rows=settings.usage_sql_rows,
    )
    return ClickHouseUsageSql(settings.clickhouse_dsn.get_secret_value(), limits)
