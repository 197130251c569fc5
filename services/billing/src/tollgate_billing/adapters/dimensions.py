"""What usage is chosen and grouped by: one table for sums, lists of requests, refused ones among them, and budgets.

The texts are constants; whatever a caller says is a parameter of the query.
"""

from typing import Final

# By the word that callers and budgets know it by.
_COLUMNS: Final = {
    "organization": "organization_id",
    "project": "project_id",
    "key": "api_key_id",
    "member": "member",
    "model": "model",
    "channel": "channel",
    "provider": "provider",
    "operation": "operation",
    "outcome": "outcome",
}
_TAGS: Final = "splitByChar(',', tags)"
# A row of a key with two tags is in the groups of both.
GROUPS: Final = {
    **_COLUMNS,
    "tag": f"arrayJoin({_TAGS})",
    "day": "formatDateTime(started_at, '%Y-%m-%d', 'UTC')",
    "hour": "formatDateTime(started_at, '%Y-%m-%dT%H:00', 'UTC')",
}
# Of a filter's fields, which name ids where callers say words.
_FIELDS: Final = {
    "organization_id": "organization",
    "project_id": "project",
    "api_key_id": "key",
    "member": "member",
    "tag": "tag",
    "model": "model",
}


def condition(dimension: str, parameter: str) -> str:
    """Returns that a row is of what a parameter of the query names. Raises KeyError for an unknown dimension."""
    named = f"{{{parameter}:String}}"
    return f"has({_TAGS}, {named})" if dimension == "tag" else f"{_COLUMNS[dimension]} = {named}"


def conditions(time: str) -> dict[str, str]:
    """Returns the condition of each field of a UsageFilter, by its name; `time` is the column of the rows' time."""
    return {field: condition(dimension, field) for field, dimension in _FIELDS.items()} | {
        "from_us": f"{time} >= fromUnixTimestamp64Micro({{from_us:Int64}})",
        "to_us": f"{time} < fromUnixTimestamp64Micro({{to_us:Int64}})",
    }
