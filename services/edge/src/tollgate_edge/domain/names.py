"""Names that people give to keys, projects and organizations."""

import re
from typing import Final

# What organizations can pay in; the first is what they do where nobody says.
CURRENCIES: Final = ("USD", "CNY")
_MAX_LENGTH: Final = 100
# As in the format of declared resources.
TAG: Final = re.compile(r"[a-z0-9][a-z0-9._:-]{0,38}")
MOST_TAGS: Final = 10
TAG_WORDS: Final = "1 to 39 of a-z, 0-9, '.', '_', ':' and '-'"
# An id, a login or a mail address: whatever the operator knows a person by.
MEMBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,99}")
MEMBER_WORDS: Final = "1 to 100 of A-Z, a-z, 0-9, '.', '_', ':', '@', '+' and '-'"
_GROUP: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def clean_name(value: str) -> str:
    """Returns the name without blanks around it. Raises ValueError when it is empty, too long or unprintable."""
    name = value.strip()
    if not name or len(name) > _MAX_LENGTH or not name.isprintable():
        raise ValueError(f"a name has 1 to {_MAX_LENGTH} printable characters")
    return name


def clean_group(value: str) -> str:
    """Returns the name of a price group or a route group; `default` for none. Raises ValueError for a bad one."""
    if value and not _GROUP.fullmatch(value):
        raise ValueError("a group has 1 to 63 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit")
    return value or "default"
