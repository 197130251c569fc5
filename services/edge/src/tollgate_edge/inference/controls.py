"""What budgets refuse or turn to another model now, as billing publishes it.

The table is asked for about once a second by each process and kept here, so that a request costs a look into a
dictionary, and none where no budget of any organization holds. While billing is away the last table goes on; what it
says ends by itself at the time that it names.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import PublicError, public_error
from tollgate_edge.ports import Downgrade

BLOCK: Final = "block"
_NOTHING: Final[Mapping[str, tuple["Control", ...]]] = {}


@dataclass(frozen=True, slots=True)
class Control:
    """A budget that is used up, or as good as. `opens_us` is when it lets go, 0 for not by itself."""

    budget_id: str
    budget_name: str
    scope: str
    scope_id: str
    action: str
    model: str
    opens_us: int

    def concerns(self, principal: Principal, model: str) -> bool:
        """Says whether a request counts in this budget."""
        if self.scope == "key":
            return self.scope_id == principal.api_key_id
        if self.scope == "project":
            return self.scope_id == principal.project_id
        if self.scope == "tag":
            return self.scope_id in principal.tags.split(",")
        if self.scope == "member":
            return self.scope_id == principal.member
        return self.scope == "organization" or self.scope_id == model

    @property
    def whose(self) -> str:
        """What the budget is of, in words."""
        return "the organization" if self.scope == "organization" else f"{self.scope} {self.scope_id}"


class Controls:
    """One per process. `version` is that of the table, empty before the first."""

    def __init__(self) -> None:
        self.version = ""
        self._of: Mapping[str, tuple[Control, ...]] = _NOTHING

    def replace(self, version: str, controls: Iterable[wire.Control]) -> None:
        """Takes a new table in."""
        of: dict[str, list[Control]] = {}
        for one in controls:
            control = Control(
                budget_id=one.budget_id,
                budget_name=one.budget_name,
                scope=one.scope,
                scope_id=one.scope_id,
                action=one.action,
                model=one.model,
                opens_us=one.opens_us,
            )
            of.setdefault(one.organization_id, []).append(control)
        self._of = {name: tuple(found) for name, found in of.items()}
        self.version = version

    @property
    def any(self) -> bool:
        """Says whether any budget holds now."""
        return bool(self._of)

    def find(self, principal: Principal, model: str, now_us: int) -> Control | None:
        """Returns what holds for a request, a block before a downgrade; None for nothing."""
        held: Control | None = None
        for one in self._of.get(principal.organization_id, ()):
            if (not one.opens_us or now_us < one.opens_us) and one.concerns(principal, model):
                if one.action == BLOCK:
                    return one
                held = held or one
        return held

    def decide(
        self, principal: Principal, model: str, now_us: int, usable: Callable[[str], bool]
    ) -> Downgrade | PublicError | None:
        """Returns what budgets turn a request to, the error of one that they refuse, or None.

        `usable` says whether a request may ask for a model; a downgrade to one that it may not changes nothing.
        """
        held = self.find(principal, model, now_us) if self._of else None
        if held is None or held.model == model:
            return None
        if held.action == BLOCK:
            return refusal(held, now_us)
        if not usable(held.model):
            return None
        # What it turns to may be what another budget blocks.
        blocked = self.blocked(principal, held.model, now_us)
        return Downgrade(held.model, f"{held.model}; budget={held.budget_id}") if blocked is None else blocked

    def blocked(self, principal: Principal, model: str, now_us: int) -> PublicError | None:
        """Returns the error of a request that a budget refuses, or None."""
        found = self.find(principal, model, now_us) if self._of else None
        return refusal(found, now_us) if found is not None and found.action == BLOCK else None


def refusal(control: Control, now_us: int) -> PublicError:
    """Returns the 429 that names the budget and when it opens again."""
    said = f"The budget '{control.budget_name}' ({control.budget_id}) of {control.whose} is used up."
    named = {"x-tollgate-budget": control.budget_id}
    if control.opens_us:
        opens = datetime.fromtimestamp(-(-control.opens_us // 1_000_000), UTC)
        said += f" It opens at {opens:%Y-%m-%dT%H:%M:%SZ}."
        named["retry-after"] = str(max(1, -(-(control.opens_us - now_us) // 1_000_000)))
    else:
        said += " It opens when an operator deletes or replaces it."
    error = public_error(errors.ERROR_KIND_INSUFFICIENT_QUOTA, said)
    return error.with_headers(**named)
