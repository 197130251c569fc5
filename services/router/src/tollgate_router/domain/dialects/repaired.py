"""Reading a stream of a provider that is not known to keep to OpenAI's wire: mended first, then read as any other."""

from tollgate_router.domain.chat_repair import RepairedStream
from tollgate_router.domain.dialects.neutral import Event
from tollgate_router.domain.dialects.openai_reply import ChatReader
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.domain.usage import ReplyUsage


class RepairedReader:
    """One reply. `repair` passes usage on, and names calls."""

    def __init__(self, repair: RepairedStream) -> None:
        self._repair = repair
        self._reader = ChatReader()

    @property
    def problem(self) -> UpstreamProblem | None:
        return self._repair.problem or self._reader.problem

    @property
    def done(self) -> bool:
        return self._reader.done

    @property
    def finished(self) -> bool:
        return self._reader.finished

    @property
    def usage(self) -> ReplyUsage | None:
        return self._repair.usage

    def feed(self, data: bytes) -> list[Event]:
        """Takes what one read held."""
        return self._reader.feed(self._repair.feed(data))

    def finish(self) -> list[Event]:
        """The stream has ended."""
        return [*self._reader.feed(self._repair.finish()), *self._reader.finish()]
