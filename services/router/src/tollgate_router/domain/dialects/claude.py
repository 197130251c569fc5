"""What is particular about Claude's models, on whichever wire they are asked."""

import re
from typing import Any, Final

from tollgate_router.domain.dialects.neutral import BUDGETS, Call, Request, Thinking

_VERSION: Final = re.compile(r"claude-(?:opus|sonnet|haiku|fable)-(\d+)(?!\d)(?:-(\d{1,2})(?!\d))?")


def is_adaptive(model: str) -> bool:
    """Tells whether a model decides itself how much it thinks, and takes no sampling values: Claude 4.6 and later."""
    found = _VERSION.search(model)
    return found is not None and (int(found[1]), int(found[2] or 0)) >= (4, 6)


def wants_thinking(request: Request) -> bool:
    """Tells whether the caller asks for a model that thinks."""
    return request.effort not in {None, "none"} or request.thinking in {"enabled", "adaptive"}


def thinking_of(request: Request, model: str) -> tuple[dict[str, Any], str]:
    """Returns the member `thinking` and the word for its effort; nothing where the model is not to think."""
    if not wants_thinking(request) or _lacks_thinking(request):
        return {}, ""
    effort = request.effort if request.effort not in {None, "none"} else "medium"
    if is_adaptive(model):
        return {"type": "adaptive", "display": "summarized"}, {"minimal": "low"}.get(str(effort), str(effort))
    return {"type": "enabled", "budget_tokens": max(1024, request.thinking_budget or BUDGETS[str(effort)])}, ""


def _lacks_thinking(request: Request) -> bool:
    """A turn that called tools may only go on thinking with its own thoughts, which most clients do not keep.

    Nor may a tool be forced.
    """
    choice = request.tool_choice
    if choice is not None and choice.mode in {"required", "named"}:
        return True
    for message in reversed(request.messages):
        if message.role == "assistant":
            called = any(isinstance(part, Call) for part in message.parts)
            proven = any(isinstance(part, Thinking) and (part.signature or part.hidden) for part in message.parts)
            return called and not proven
    return False
