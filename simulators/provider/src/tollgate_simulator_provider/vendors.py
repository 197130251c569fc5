"""Vendors that are compatible with OpenAI's wire in their own ways, as their documentation and bug reports say.

The ways are data, `data/vendors.json`, written from those pages and not from what the product knows of the vendors:
the two meet in the conformance suite.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Ways:
    """How a vendor differs. Empty: as OpenAI does."""

    takes: tuple[str, ...] = ()
    """The only members of a request; another one is refused."""
    refuses: tuple[str, ...] = ()
    """Members that are refused, whatever their value."""
    roles: tuple[str, ...] = ()
    refuses_in_messages: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    """Types of `response_format` that are taken."""
    needs: Mapping[str, Any] = field(default_factory=dict)
    """What a request must say for thoughts to come apart from the text."""
    reasoning: str = "reasoning_content"
    """Where thoughts are: reasoning_content, reasoning, details or parts."""
    usage: str = "asked"
    """Where the usage of a stream is: asked, finish, every, choice or x_groq."""
    opening: str = ""
    """A comment before the first chunk."""
    repeats: tuple[str, ...] = ()
    """What is there again in each chunk: role, message, call, error."""
    lacks: tuple[str, ...] = ()
    """What is not there: index (of calls) or done."""
    whole_calls: bool = False
    """A call comes as one piece."""
    returns: str = ""
    """Whose thoughts must come back while it thinks: all (of every turn of the model, with tools) or calls."""
    plain: tuple[str, ...] = ()
    """Models that never think."""
    thinks: Mapping[str, int] = field(default_factory=dict)
    """Model → pieces that it thinks where a fault asks for none."""
    fine: Mapping[str, Any] = field(default_factory=dict)
    """What is beside each good reply."""
    ends: Mapping[str, str] = field(default_factory=dict)
    """The vendor's words for reasons to finish."""
    refused: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Kind of refusal → `status` and `body`, as documented or reported; {param} in it is the member at fault."""


@cache
def vendors() -> Mapping[str, Ways]:
    """Returns the ways of each vendor by its name."""
    data = resources.files("tollgate_simulator_provider") / "data" / "vendors.json"
    found = json.loads(data.read_bytes())
    return {name: Ways(**ways) for name, ways in found.items()}
