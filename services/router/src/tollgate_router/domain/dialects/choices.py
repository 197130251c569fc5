"""Several answers to one request, where both wires know such a thing: chat's `choices` and Gemini's `candidates`.

Each answer is a reply of its own, which is read and written as any other: what came is told apart by its number, and
what goes out has that number again. Only who asks for several pays for the detour.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.sse import EventReader, TooLong
from tollgate_router.domain.dialects.translated_stream import StreamTranslation
from tollgate_router.domain.sending import WholeReader
from tollgate_router.domain.upstream_errors import UpstreamProblem, unreadable
from tollgate_router.domain.usage import ReplyUsage

if TYPE_CHECKING:
    from tollgate_router.domain.dialects.translate import Translation

_MEMBERS: Final[Mapping[int, str]] = {wire.DIALECT_OPENAI_CHAT: "choices", wire.DIALECT_GEMINI: "candidates"}
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_DONE: Final = b"data: [DONE]\n\n"


def whole_reader(translation: "Translation", upstream: int, dialect: int) -> WholeReader:
    """Returns what reads a whole reply with several answers."""

    def read(body: bytes) -> tuple[ReplyUsage | None, bytes] | UpstreamProblem:
        # As a whole it tells what all of the answers used, and how it is written.
        first = translation.read(body)
        if isinstance(first, UpstreamProblem):
            return first
        usage, written = first
        came, goes = _MEMBERS[upstream], _MEMBERS[dialect]
        found, reply = msgspec.json.decode(body), msgspec.json.decode(written)
        said = []
        for number, one in enumerate(sorted(_answers(found, came), key=_number)):
            other = translation.read(msgspec.json.encode({**found, came: [one | {"index": 0}]}))
            if isinstance(other, UpstreamProblem):
                return other
            said += [answer | {"index": number} for answer in msgspec.json.decode(other[1])[goes]]
        return usage, msgspec.json.encode({**reply, goes: said or reply[goes]})

    return read


def _answers(found: Any, member: str) -> list[dict[str, Any]]:
    answers = found.get(member) if isinstance(found, dict) else None
    return [one for one in answers if isinstance(one, dict)] if isinstance(answers, list) else []


def _number(answer: dict[str, Any]) -> int:
    number = answer.get("index", 0)
    return number if type(number) is int else 0


class SeveralStreams:
    """A streamed reply with several answers, whose chunks come in any order."""

    def __init__(self, translation: "Translation", count: int, upstream: int, dialect: int) -> None:
        self._streams = [StreamTranslation(translation) for _ in range(count)]
        # It sees all of the answers, whose searches and tokens are told together.
        self._counting = translation.reader()
        self._frames = EventReader()
        self._came, self._goes = _MEMBERS[upstream], _MEMBERS[dialect]
        self._ends_with_done = dialect == wire.DIALECT_OPENAI_CHAT
        self._problem: UpstreamProblem | None = None
        self._told = b""
        self._ended = False

    @property
    def problem(self) -> UpstreamProblem | None:
        return self._problem or next((one.problem for one in self._streams if one.problem is not None), None)

    @property
    def usage(self) -> ReplyUsage | None:
        return self._counting.usage

    @property
    def done(self) -> bool:
        return all(one.done for one in self._streams)

    @property
    def complete(self) -> bool:
        return self.problem is None and all(one.complete for one in self._streams)

    @property
    def frames(self) -> int:
        return sum(one.frames for one in self._streams)

    def kept(self) -> int:
        """Returns how much text of what came is held here."""
        return sum(one.kept() for one in self._streams)

    def feed(self, data: bytes) -> bytes:
        """Takes what one read held; returns what may go to the caller now."""
        self._counting.feed(data)
        try:
            frames = self._frames.feed(data)
        except TooLong:
            self._problem = unreadable()
            return b""
        return self._taken(frames) + self._end()

    def finish(self) -> bytes:
        """The provider has ended."""
        self._counting.finish()
        written = self._taken(self._frames.finish())
        written += b"".join(self._numbered(one.finish(), number) for number, one in enumerate(self._streams))
        return written + self._end() if self.complete else written

    def _taken(self, frames: Iterable[tuple[bytes, bytes]]) -> bytes:
        out = []
        for _, data in frames:
            for number, own in self._told_apart(data):
                if self.problem is None:
                    out.append(self._numbered(self._streams[number].feed(b"data: %b\n\n" % own), number))
        return b"".join(out)

    def _told_apart(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yields what each answer gets of a frame: its own part; all get one that is nobody's."""
        try:
            found = msgspec.json.decode(data)
        except _BROKEN:
            found = None
        answers = _answers(found, self._came)
        if not answers:
            yield from ((number, data) for number in range(len(self._streams)))
        for one in answers:
            number = _number(one)
            if 0 <= number < len(self._streams):
                yield number, msgspec.json.encode({**found, self._came: [one | {"index": 0}]})

    def _numbered(self, written: bytes, number: int) -> bytes:
        """Returns what an answer's stream has written under the answer's number; what ends all of them waits."""
        out = []
        for frame in written.split(b"\n\n")[:-1]:
            if frame + b"\n\n" == _DONE:
                continue
            chunk = msgspec.json.decode(frame.removeprefix(b"data: "))
            if not chunk[self._goes]:
                self._told = frame + b"\n\n"
                continue
            chunk[self._goes][0]["index"] = number
            out.append(b"data: %b\n\n" % msgspec.json.encode(chunk))
        return b"".join(out)

    def _end(self) -> bytes:
        if self._ended or not self._ends_with_done or not self.complete or not all(one.ended for one in self._streams):
            return b""
        self._ended = True
        return self._told + _DONE
