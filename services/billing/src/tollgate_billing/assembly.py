"""Parts of the composition root that need little of it: adapters made of settings alone, and reports."""

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.letters import ClickHouseLetters, UsageProducer
from tollgate_billing.adapters.notice_sender import MailServer
from tollgate_billing.adapters.price_archive import PriceArchive
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.sql_statements import SqlStatements
from tollgate_billing.adapters.unpriced_rows import ClickHouseUnpricedRows
from tollgate_billing.adapters.usage_books import ClickHouseUsageBooks
from tollgate_billing.adapters.usage_schema import Cluster, Retention
from tollgate_billing.adapters.usage_sql import ClickHouseUsageSql
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.adapters.used_rows import ClickHouseUsedRows
from tollgate_billing.api.report_service import ReportService
from tollgate_billing.ports import SqlLimits
from tollgate_billing.settings import BillingSettings
from tollgate_billing.use_cases.rerate_unpriced import RerateUnpriced
from tollgate_billing.use_cases.take_back_repeated import TakeBackRepeated
from tollgate_billing.use_cases.what_if import RateAgain
from tollgate_kit.clock import Clock
from tollgate_kit.sql import Database


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


def reports(
    clickhouse: ClickHouse, database: Database, prices: PriceArchive, topic: UsageProducer, clock: Clock
) -> ReportService:
    """Returns what reports on money, and corrects through the log what was booked with no price or twice."""
    unpriced, ledger = ClickHouseUnpricedRows(clickhouse), SqlLedger(database)
    rerate = RerateUnpriced(unpriced, ledger, prices, topic, clock, ClickHouseLetters(clickhouse))
    take_back = TakeBackRepeated(ClickHouseUsageBooks(clickhouse), ClickHouseUsageStore(clickhouse), topic, clock)
    rate_again = RateAgain(ClickHouseUsedRows(clickhouse))
    return ReportService(SqlStatements(database), rate_again, rerate, take_back, prices)
