"""Names that people give to keys, projects and organizations."""

from typing import Final

_MAX_LENGTH: Final = 100


def clean_name(value: str) -> str:
    """Returns the name without blanks around it. Raises ValueError when it is empty, too long or unprintable."""
    name = value.strip()
    if not name or len(name) > _MAX_LENGTH or not name.isprintable():
        raise ValueError(f"a name has 1 to {_MAX_LENGTH} printable characters")
    return name
