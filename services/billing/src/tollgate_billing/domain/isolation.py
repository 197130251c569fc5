"""Statements that let an organization's analysts query their own rows on a ClickHouse server, and nothing else.

They are made for an administrator of the server, or of a cluster, to read and run. The engine's parser has checked
their form; chDB has no users, so that no test has run them.
"""

from collections.abc import Sequence
from typing import Final

from tollgate_billing.domain import request_log
from tollgate_billing.domain.usage_export import COLUMNS, OPERATORS_COLUMNS
from tollgate_billing.domain.usage_view import View

_SUMS: Final = (
    *("organization_id", "project_id", "model", "currency", "rows", "requests", "errors", "unpriced", "cache_hits"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
    *("reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "image_input_tokens", "image_output_tokens"),
    *("images", "charge"),
)
# What says how we buy is granted to nobody.
GRANTED: Final = {
    "usage_events": tuple(name for name in COLUMNS if name not in OPERATORS_COLUMNS),
    "usage_1m": ("minute", *_SUMS),
    "usage_1h": ("hour", "api_key_id", *_SUMS, "extra_units"),
    "usage_1d": ("day", "api_key_id", *_SUMS, "extra_units"),
    request_log.TABLE: tuple(column.name for column in request_log.COLUMNS),
}


def isolation_statements(organization_id: str, views: Sequence[View], cluster: str = "") -> list[str]:
    """Returns the statements for an organization; its id is taken as checked. They can be repeated.

    `cluster` is the name that replicated tables were made with, macros and all; empty for one server.
    """
    role, everywhere = f"`tollgate_{organization_id}`", f" ON CLUSTER '{cluster}'" if cluster else ""
    statements = [f"CREATE ROLE IF NOT EXISTS {role}{everywhere}"]
    for table, columns in GRANTED.items():
        names = ", ".join(f"`{name}`" for name in columns)
        statements += [
            f"GRANT{everywhere} SELECT({names}) ON {table} TO {role}",
            (
                f"CREATE ROW POLICY IF NOT EXISTS {role}{everywhere} ON {table}"
                f" FOR SELECT USING organization_id = '{organization_id}' AS RESTRICTIVE TO {role}"
            ),
            # A table with a policy shows nothing to whom no permissive policy names.
            f"CREATE ROW POLICY IF NOT EXISTS `tollgate_everyone`{everywhere} ON {table} FOR SELECT USING 1 TO ALL",
        ]
    statements += [
        f"GRANT{everywhere} SELECT ON {view.full_name} TO {role}"
        for view in views
        if not view.operators_only and not any(column.operators_only for column in view.columns)
    ]
    statements += [
        (
            f"CREATE SETTINGS PROFILE IF NOT EXISTS {role}{everywhere} SETTINGS readonly = 1, max_execution_time = 30,"
            f" max_memory_usage = 2000000000, max_rows_to_read = 1000000000, max_result_rows = 1000000 TO {role}"
        ),
        (
            f"CREATE QUOTA IF NOT EXISTS {role}{everywhere} FOR INTERVAL 1 hour"
            f" MAX queries = 1000, read_rows = 20000000000, execution_time = 1800 TO {role}"
        ),
    ]
    return statements
