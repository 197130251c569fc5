"""What a row of the usage store says was used, as rating sees it."""

from collections.abc import Mapping
from typing import Any

from tollgate_billing.domain.fields import TOKEN_FIELDS


def units_of_row(row: Mapping[str, Any]) -> dict[str, int]:
    """Returns the quantities of a usage row by the rating's names, in the order of its columns."""
    units = {name.removesuffix("_tokens"): row[name] for name in TOKEN_FIELDS if row[name]}
    if row["requests"]:
        units["request"] = row["requests"]
    extra = dict(row["extra_units"])
    # Pictures of no known size have no unit of their own beside the count of all.
    plain = row["images"] - sum(count for name, count in extra.items() if name.startswith("image:"))
    if plain > 0:
        extra["image"] = plain
    return units | extra
