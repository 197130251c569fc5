"""Finals that had no price and carry the charge of their request still, from the usage store."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.usage_store import SELECTED
from tollgate_billing.domain.rows import NO_EVENT, Row
from tollgate_billing.ports import UsageFilter

_PAGE: Final = 2_000
_SPAN: Final = """
started_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND started_at < fromUnixTimestamp64Micro({to_us:Int64})
  AND ({organization_id:String} = '' OR organization_id = {organization_id:String})
  AND ({model:String} = '' OR model = {model:String})
"""
# An adjustment repeats the row that it corrects, so that both are within the same span.
_WHERE: Final = f"""
WHERE {_SPAN} AND kind = 'usage' AND final AND NOT superseded AND unpriced
  AND event_id NOT IN (SELECT corrects_event_id FROM usage_events WHERE {_SPAN} AND kind = 'adjustment')
"""  # noqa: S608 - constants; everything else is a parameter.
_COUNT: Final = f"SELECT count() AS rows FROM usage_events {_WHERE}"  # noqa: S608 - constants; the rest is a parameter.
_PAGES: Final = f"""
SELECT {SELECTED} FROM usage_events {_WHERE}
  AND (started_at, event_id) > (fromUnixTimestamp64Micro({{after_us:Int64}}), toUUID({{after_id:String}}))
ORDER BY started_at, event_id LIMIT {{page:UInt32}}
"""  # noqa: S608 - constants; the rest is a parameter.


class ClickHouseUnpricedRows:
    def __init__(self, clickhouse: ClickHouse, page: int = _PAGE) -> None:
        self._clickhouse = clickhouse
        self._page = page

    async def count(self, where: UsageFilter) -> int:
        return int((await self._clickhouse.rows(_COUNT, _asked(where)))[0]["rows"])

    async def pages(self, where: UsageFilter) -> AsyncIterator[Sequence[Row]]:
        after = (where.from_us - 1, str(NO_EVENT))
        while True:
            more = {"after_us": after[0], "after_id": after[1], "page": self._page}
            rows = await self._clickhouse.rows(_PAGES, _asked(where) | more)
            if rows:
                yield rows
            if len(rows) < self._page:
                return
            after = (rows[-1]["started_at_us"], str(rows[-1]["event_id"]))


def _asked(where: UsageFilter) -> dict[str, Any]:
    names = ("from_us", "to_us", "organization_id", "model")
    return {name: getattr(where, name) for name in names}
