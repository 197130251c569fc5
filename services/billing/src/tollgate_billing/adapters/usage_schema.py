"""The usage store's tables: migrations, views and retention, for one server (or chDB) and for a replicated cluster.

The files under `migrations/usage` are written for one server. For a cluster the same text is changed on the way: tables
become replicated ones, statements run `ON CLUSTER`. Only the single form runs in our tests; the replicated form is
parsed by the engine there, and no cluster has run it yet.
"""

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from tollgate_billing.adapters.usage_views import all_views, view_statement

log = logging.getLogger(__name__)

REPLICATED_WINDOW: Final = 100_000
REPLICATED_WINDOW_SECONDS: Final = 7 * 24 * 3600
_APPLIED: Final = """
CREATE TABLE IF NOT EXISTS usage_migrations (name String, applied_at DateTime DEFAULT now())
ENGINE = MergeTree ORDER BY name SETTINGS non_replicated_deduplication_window = 1000
"""
_COMMENTS: Final = re.compile(r"^--.*\n", re.MULTILINE)
_FILL: Final = re.compile(r"FILL (\w+)")
_NAMED: Final = re.compile(
    r"\A(CREATE (?:TABLE|MATERIALIZED VIEW|VIEW)(?: IF NOT EXISTS)?|CREATE OR REPLACE VIEW"
    r"|DROP (?:TABLE|VIEW) IF EXISTS|ALTER TABLE) (\w+)"
)
_ENGINE: Final = re.compile(r"\bENGINE = (\w*MergeTree)\b(?!\()")
_WINDOW: Final = re.compile(r"\bnon_replicated_deduplication_window = \d+")
# A fill runs once over all there is: it may touch every month, and spills what does not fit.
FILLING: Final = {
    "insert_deduplicate": 0,
    "max_partitions_per_insert_block": 0,
    "max_bytes_before_external_group_by": 1 << 30,
    "async_insert": 0,
}
_DROP_WHOLE_PARTS: Final = "ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where replicated tables live: the cluster's name and the path of a table in Keeper, both with macros."""

    name: str
    keeper_path: str


@dataclass(frozen=True, slots=True)
class Retention:
    """How long rows are kept, at least: what goes is whole parts. 0 keeps them for good.

    `cold_days`: raw rows older than this move to the volume `cold_volume` of `storage_policy`; 0 moves nothing.
    """

    raw_months: int = 25
    minute_days: int = 14
    hour_months: int = 18
    day_years: int = 7
    cold_days: int = 0
    cold_volume: str = "cold"
    storage_policy: str = ""

    def lifetimes(self) -> dict[str, str]:
        """Returns the TTL of each table as the engine writes it; empty where rows stay."""
        raw = [f"toDateTime(started_at) + toIntervalMonth({self.raw_months})"] if self.raw_months else []
        if self.cold_days:
            raw.append(f"toDateTime(started_at) + toIntervalDay({self.cold_days}) TO VOLUME '{self.cold_volume}'")
        return {
            "usage_events": ", ".join(raw),
            "usage_1m": f"minute + toIntervalDay({self.minute_days})" if self.minute_days else "",
            "usage_1h": f"hour + toIntervalMonth({self.hour_months})" if self.hour_months else "",
            "usage_1d": f"day + toIntervalYear({self.day_years})" if self.day_years else "",
        }


def on_cluster(statement: str, cluster: Cluster | None) -> str:
    """Returns a statement of ours in the form that a cluster takes; unchanged without one."""
    if cluster is None:
        return statement
    statement = _NAMED.sub(rf"\1 \2 ON CLUSTER '{cluster.name}'", statement)
    statement = _ENGINE.sub(rf"ENGINE = Replicated\1('{cluster.keeper_path}', '{{replica}}')", statement)
    return _WINDOW.sub(
        f"replicated_deduplication_window = {REPLICATED_WINDOW}, "
        f"replicated_deduplication_window_seconds = {REPLICATED_WINDOW_SECONDS}",
        statement,
    )


def migrations() -> Iterator[tuple[str, list[str]]]:
    """Yields each step's name and its statements, in order; `FILL table` asks to fill a rollup from raw rows."""
    folder = resources.files("tollgate_billing") / "migrations" / "usage"
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".sql"):
            text = _COMMENTS.sub("", file.read_text(encoding="utf-8"))
            yield file.name, [part.strip() for part in text.split(";\n") if part.strip()]


def migrate(client: Any, cluster: Cluster | None) -> None:
    """Brings tables and views up to date; each step can be repeated until it is recorded."""
    client.command(on_cluster(_APPLIED.strip(), cluster))
    applied = {row[0] for row in client.query("SELECT name FROM usage_migrations").result_rows}
    for name, statements in migrations():
        if name not in applied:
            for statement in statements:
                _run(client, statement, cluster)
            _record(client, name)
    for view in all_views():
        statement = view_statement(view)
        # A view holds nothing: what its file says now takes the place of what it said before.
        name = f"{view.full_name} {hashlib.sha256(statement.encode()).hexdigest()[:16]}"
        if name not in applied:
            client.command(on_cluster(statement, cluster))
            _record(client, name)


def keep_for(client: Any, retention: Retention, cluster: Cluster | None) -> list[str]:
    """Makes tables keep their rows as long as said, where they do not yet; returns the tables that were changed."""
    changed = []
    for table, wanted in retention.lifetimes().items():
        found = client.query(
            "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {name:String}",
            parameters={"name": table},
        ).result_rows[0][0]
        policy = retention.storage_policy if table == "usage_events" else ""
        statements = list(_retention_statements(table, wanted, policy, found))
        for statement in statements:
            client.command(on_cluster(statement, cluster))
        if statements:
            changed.append(table)
            log.info("changed how long usage is kept", extra={"fields": {"table": table, "for": wanted or "ever"}})
    return changed


def _retention_statements(table: str, wanted: str, policy: str, engine: str) -> Iterator[str]:
    """Yields what has to be altered, given the table's engine clause."""
    has, _, settings = engine.partition(" SETTINGS ")
    if "ttl_only_drop_parts = 1" not in settings:
        yield f"ALTER TABLE {table} MODIFY SETTING {_DROP_WHOLE_PARTS}"
    if policy and f"storage_policy = '{policy}'" not in settings:
        yield f"ALTER TABLE {table} MODIFY SETTING storage_policy = '{policy}'"
    present = has.partition(" TTL ")[2]
    if wanted != present:
        yield f"ALTER TABLE {table} MODIFY TTL {wanted}" if wanted else f"ALTER TABLE {table} REMOVE TTL"


def _run(client: Any, statement: str, cluster: Cluster | None) -> None:
    filled = _FILL.fullmatch(statement)
    if filled is None:
        client.command(on_cluster(statement, cluster))
        return
    table = filled[1]
    (query,) = client.query(
        "SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = {name:String}",
        parameters={"name": f"{table}_from_events"},
    ).result_rows[0]
    client.command(f"INSERT INTO {table} {query}", settings=FILLING)


def _record(client: Any, name: str) -> None:
    # As a statement: the client's own insert loads pandas, a second of processor time and 40 MB.
    client.command(
        "INSERT INTO usage_migrations (name) SELECT {name:String}",
        parameters={"name": name},
        settings={"insert_deduplication_token": name},
    )
    log.info("migrated the usage store", extra={"fields": {"step": name}})
