"""An error in a step of one request ends that request, and never the loop, connection or task that took the step."""

import logging
from collections.abc import Callable
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Breakable(Protocol):
    """What can end by itself when a step of it failed."""

    def broke(self) -> None:
        """Answers 500, where there is still somebody to answer, and gives back what is held."""
        ...


def guarded(request: Breakable, step: Callable[..., None], *arguments: Any) -> None:
    """Takes a step of a request."""
    try:
        step(*arguments)
    except Exception:
        log.exception("a request failed inside edge")
        try:
            request.broke()
        except Exception:
            log.exception("the end of a request failed, too")
