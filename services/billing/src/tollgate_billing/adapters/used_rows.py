"""Usage request by request, as rating sees it, from the usage store."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.domain.fields import TOKEN_FIELDS
from tollgate_billing.domain.rows import to_pico
from tollgate_billing.domain.used_units import units_of_row
from tollgate_billing.report_ports import UsedUnits

_PAGE: Final = 50_000
_WHERE: Final = """
WHERE started_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND started_at < fromUnixTimestamp64Micro({to_us:Int64})
  AND (kind = 'adjustment' OR (final AND NOT superseded))
  AND ({organization_id:String} = '' OR organization_id = {organization_id:String})
"""
_COUNT: Final = f"SELECT count() AS rows FROM usage_events {_WHERE}"  # noqa: S608 - constants; the rest is a parameter.
_PAGES: Final = f"""
SELECT kind, event_id, toUnixTimestamp64Micro(started_at) AS started_us, organization_id, project_id, model,
       price_group, list_currency, service_tier, {", ".join(TOKEN_FIELDS)}, requests, images, extra_units, list_charge
FROM usage_events {_WHERE}
  AND (started_at, event_id) > (fromUnixTimestamp64Micro({{after_us:Int64}}), toUUID({{after_id:String}}))
ORDER BY started_at, event_id LIMIT {{page:UInt32}}
"""  # noqa: S608 - constants; the rest is a parameter.


class ClickHouseUsedRows:
    def __init__(self, clickhouse: ClickHouse, page: int = _PAGE) -> None:
        self._clickhouse = clickhouse
        self._page = page

    async def count(self, organization_id: str, from_us: int, to_us: int) -> int:
        asked = {"organization_id": organization_id, "from_us": from_us, "to_us": to_us}
        return int((await self._clickhouse.rows(_COUNT, asked))[0]["rows"])

    async def pages(self, organization_id: str, from_us: int, to_us: int) -> AsyncIterator[Sequence[UsedUnits]]:
        asked: dict[str, Any] = {"organization_id": organization_id, "from_us": from_us, "to_us": to_us}
        after = (from_us - 1, "00000000-0000-0000-0000-000000000000")
        while True:
            more = {"after_us": after[0], "after_id": after[1], "page": self._page}
            rows = await self._clickhouse.rows(_PAGES, asked | more)
            if rows:
                yield [_used(row) for row in rows]
            if len(rows) < self._page:
                return
            after = (rows[-1]["started_us"], str(rows[-1]["event_id"]))


def _used(row: dict[str, Any]) -> UsedUnits:
    return UsedUnits(
        organization_id=row["organization_id"],
        project_id=row["project_id"],
        model=row["model"],
        price_group=row["price_group"],
        currency=row["list_currency"],
        started_us=row["started_us"],
        service=row["service_tier"],
        units=units_of_row(row),
        charge_pico=to_pico(row["list_charge"]),
        sign=-1 if row["kind"] == "adjustment" else 1,
    )
