"""The filter that a stream passes whose provider is not known to keep to OpenAI's wire: what breaks clients is mended.

One role, one reason to finish, calls that are named once and come one to a chunk, usage once and last, `[DONE]`, and no
member that takes an ordinary chunk for an error. Every frame is decoded but those that differ from one that needed no
mending by the words within one string only, which are nearly all; they go on as they are, all of a read at once.
"""

from typing import Any, Final

import msgspec

from tollgate_router.domain.chat_stream import DONE, MAX_FRAME_BYTES, ChatStream
from tollgate_router.domain.dialects.call_ids import call_id
from tollgate_router.domain.quirks.wire import WireQuirks
from tollgate_router.domain.upstream_errors import UpstreamProblem, unreadable
from tollgate_router.domain.usage import read_usage, with_service

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_TEXT: Final = msgspec.json.Decoder(str)
_WORDS: Final = frozenset({"content", "reasoning_content"})
_OPENINGS: Final = tuple(f'"{name}":{blank}"'.encode() for name in sorted(_WORDS) for blank in ("", " "))
_HEAD: Final = ("id", "object", "created", "model")
_OBJECT: Final = "chat.completion.chunk"
# As numbers they are looked for three times as fast.
_QUOTE: Final = ord('"')
_LINE_FEED: Final = ord("\n")
_RETURN: Final = ord("\r")
_FRAME_END: Final = b"\n\n"
_KEEP_ALIVE: Final = b": keep-alive\n\n"


# What stands before and behind the words of a frame; nothing begins with this one.
_NO_PATTERN: Final = (b"\0", b"\0")


class RepairedStream(ChatStream):
    """One reply. `given` is what chunks say of themselves where they do not: id, created and model."""

    __slots__ = (
        "_calls",
        "_given",
        "_head",
        "_last_usage",
        "_passed_frames",
        "_pattern",
        "_quirks",
        "_reasons",
        "_roles",
    )

    def __init__(
        self,
        quirks: WireQuirks,
        given: dict[str, Any],
        *,
        usage_wanted: bool,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        super().__init__(usage_wanted=usage_wanted, max_frame_bytes=max_frame_bytes)
        self._quirks = quirks
        self._given = given
        self._head: dict[str, Any] = {}
        self._pattern = _NO_PATTERN
        self._roles: set[int] = set()
        self._reasons: dict[int, str] = {}
        # Of each choice: the calls by index or id, in the order in which they came.
        self._calls: dict[int, list[tuple[Any, str]]] = {}
        self._last_usage: dict[str, Any] | None = None
        self._passed_frames = 0

    @property
    def complete(self) -> bool:
        """It ended as it should: with [DONE], or at least with a reason to finish."""
        return self.problem is None and (self.done or bool(self._reasons))

    @property
    def frames(self) -> int:
        """How many frames went through; the stand-in for output tokens when usage is missing."""
        return self._passed_frames

    def _pass(self, ready: bytes) -> bytes:
        if not self._began:
            ready = self._begin(ready)
        if self.problem is not None or self.done:
            return b""
        plain = self._plain_frames(ready)
        self._passed_frames += plain
        return ready if plain else self._mend(ready)

    def _plain_frames(self, ready: bytes) -> int:
        """Returns how many frames these are that differ from one that needed no mending by their words only.

        0 where that is not so of all of them.
        """
        prefix, suffix = self._pattern
        if not (ready.startswith(prefix) and ready.endswith(suffix, len(prefix))):
            return 0
        words = ready[len(prefix) : -len(suffix)]
        if _QUOTE not in words:
            # Where a line ends within the words, the frame is broken.
            return _LINE_FEED not in words and _RETURN not in words
        to_words = slice(len(prefix), len(_FRAME_END) - len(suffix))
        said = [frame[to_words] for frame in ready.split(_FRAME_END)[:-1]]
        if prefix + (suffix + prefix).join(said) + suffix != ready:
            return 0
        # The blanks keep what is broken at the end of one frame from being made whole by the next.
        words = b" ".join(said)
        if _QUOTE in words:
            return len(said) if _is_text(words) else 0
        return len(said) if _LINE_FEED not in words and _RETURN not in words else 0

    def _no_stream(self, body: bytes) -> UpstreamProblem:
        try:
            found = msgspec.json.decode(body)
        except _BROKEN:
            found = None
        problem = self._quirks.errors.within(found) if isinstance(found, dict) else None
        return problem or unreadable()

    def _mend(self, ready: bytes) -> bytes:
        if b"\r" in ready:
            ready = ready.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        out: list[bytes] = []
        start, together = 0, True
        while (end := ready.find(_FRAME_END, start) + len(_FRAME_END)) > 1:
            plain = self._plain_frames(ready[start:end])
            if plain and together:
                # All that follow are plain too, but for the last. Asked once: to ask again behind each that is not
                # would take a time that grows with the square of what was read.
                together = False
                last = ready.rfind(self._pattern[1], end) + len(self._pattern[1])
                more = self._plain_frames(ready[end:last]) if last > end else 0
                plain, end = plain + more, last if more else end
            out.append(ready[start:end] if plain else self._mend_frame(ready[start : end - len(_FRAME_END)]))
            self._passed_frames += plain or out[-1].count(_FRAME_END)
            if self.problem is not None or self.done:
                return b"".join(out)
            start = end
        # A frame too large to be held goes on in pieces.
        rest = ready[start:].lstrip(b"\n")
        self._passed_frames += bool(rest)
        return b"".join((*out, rest))

    def _mend_frame(self, frame: bytes) -> bytes:
        text = _data_of(frame)
        if text is None:
            return _KEEP_ALIVE if frame.lstrip().startswith(b":") else b""
        if text == b"[DONE]":
            return self._close()
        try:
            found = msgspec.json.decode(text)
        except _BROKEN:
            found = None
        if not isinstance(found, dict):
            # What is empty says nothing; what is broken leaves a hole in the answer.
            self.problem = unreadable() if text else None
            return b""
        if frame == b"data: " + text and self._is_plain(found):
            self._learn(frame)
            return frame + _FRAME_END
        return self._chunk(found)

    def _is_plain(self, chunk: dict[str, Any]) -> bool:
        """It says who it is, a few words, and nothing else."""
        choices = chunk.get("choices")
        if not self._head or "error" in chunk or chunk.get("usage") is not None or not isinstance(choices, list):
            return False
        choice = choices[0] if len(choices) == 1 else None
        if not isinstance(choice, dict) or choice.get("finish_reason", "") is not None or "message" in choice:
            return False
        delta, index = choice.get("delta"), choice.get("index")
        if not isinstance(delta, dict) or len(delta) != 1 or not isinstance(index, int) or index not in self._roles:
            return False
        ((name, said),) = delta.items()
        words = name in _WORDS and isinstance(said, str)
        return words and self._head.items() <= chunk.items() and self._shows_nothing(chunk)

    def _shows_nothing(self, chunk: dict[str, Any]) -> bool:
        """Neither a usage nor an error stands where this provider's data says it may."""
        return self._quirks.reply.usage({**chunk}) is None and self._quirks.errors.within(chunk) is None

    def _learn(self, frame: bytes) -> None:
        """Keeps what stands around the words of a frame that needed no mending."""
        for opening in _OPENINGS:
            start = frame.find(opening) + len(opening)
            end = frame.find(b'"', start)
            if start >= len(opening) and b"\\" not in frame[start:end]:
                self._pattern = frame[:start], frame[end:] + _FRAME_END
                return

    def _chunk(self, chunk: dict[str, Any]) -> bytes:
        self.problem = self._quirks.errors.within(chunk)
        if self.problem is not None:
            return b""
        chunk.pop("error", None)
        usage = self._quirks.reply.usage(chunk)
        if usage is not None:
            self._take_usage(usage, chunk)
        choices = chunk.get("choices")
        kept: list[dict[str, Any]] = []
        for number, choice in enumerate(choices if isinstance(choices, list) else ()):
            if isinstance(choice, dict):
                kept += self._choice(choice, number)
        if self.problem is not None or not kept:
            return b""
        self._name(chunk)
        # One call to a chunk: there are clients that read the first only.
        return b"".join(self._encoded(chunk, choice) for choice in kept)

    def _name(self, chunk: dict[str, Any]) -> None:
        """Fills in what every chunk says of itself."""
        if not self._head:
            usual = {"object": _OBJECT, **self._given}
            self._head = {name: chunk.get(name) or usual[name] for name in _HEAD}
            self._head["object"] = _OBJECT
        chunk |= self._head

    def _encoded(self, chunk: dict[str, Any], choice: dict[str, Any]) -> bytes:
        chunk["choices"] = [choice]
        return b"data: %b\n\n" % msgspec.json.encode(chunk)

    def _take_usage(self, usage: dict[str, Any], chunk: dict[str, Any]) -> None:
        found = read_usage(msgspec.json.encode(usage), needs_output=True)
        if found is not None:
            self.usage = with_service(found, chunk.get("service_tier"))
            self._last_usage = usage

    def _choice(self, choice: dict[str, Any], number: int) -> list[dict[str, Any]]:
        """Returns a choice as one or more, each with at most one call; none where it says nothing new."""
        index = choice.get("index")
        index = choice["index"] = index if isinstance(index, int) else number
        for name in ("message", "usage"):
            choice.pop(name, None)
        said = choice.get("delta")
        delta = said if isinstance(said, dict) else {}
        delta.pop("role", None)
        self._quirks.reply.part(delta)
        calls = self._named(index, delta.pop("tool_calls", None))
        pieces: list[dict[str, Any]] = []
        if index not in self._roles:
            self._roles.add(index)
            pieces.append({**choice, "delta": {"role": "assistant", **delta}, "finish_reason": None})
        elif any(value not in (None, "", [], {}) for value in delta.values()):
            pieces.append({**choice, "delta": delta, "finish_reason": None})
        pieces += [{"index": index, "delta": {"tool_calls": [call]}, "finish_reason": None} for call in calls]
        reason = self._reason(choice, index)
        if reason is not None:
            if not pieces or calls:
                pieces.append({**choice, "delta": {}})
            pieces[-1]["finish_reason"] = reason
        return pieces

    def _reason(self, choice: dict[str, Any], index: int) -> str | None:
        reason = self._quirks.reply.reason(choice.get("finish_reason"))
        if reason == "error":
            self.problem = self._quirks.failed()
            return None
        if reason is None or index in self._reasons:
            return None
        # Some say stop where they have called tools.
        self._reasons[index] = "tool_calls" if reason == "stop" and self._calls.get(index) else reason
        return self._reasons[index]

    def _named(self, index: int, calls: Any) -> list[dict[str, Any]]:
        """Returns the pieces of calls with an index; id, type and name only where a call begins."""
        known = self._calls.setdefault(index, [])
        found = []
        for call in calls if isinstance(calls, list) else ():
            if not isinstance(call, dict):
                continue
            function = call.get("function")
            function = function if isinstance(function, dict) else {}
            place = _place(known, call)
            arguments = function.get("arguments")
            if not isinstance(arguments, str):
                arguments = "" if arguments is None else msgspec.json.encode(arguments).decode()
            if place == len(known):
                name = str(function.get("name") or "")
                known.append((call.get("index"), str(call.get("id") or call_id(self._given["id"], place))))
                said: dict[str, Any] = {"name": name, "arguments": arguments}
                begun = {"index": place, "id": known[place][1], "type": "function", "function": said}
                # Some want it back with the call.
                extra = call.get("extra_content")
                found.append(begun | {"extra_content": extra} if extra else begun)
            else:
                found.append({"index": place, "function": {"arguments": arguments}})
        return found

    def _close(self) -> bytes:
        """Returns what a stream ends with: a reason where none was given, the usage, and the end."""
        self.done = True
        if not self._head:
            # Nothing was said: as empty as a stream that was cut off.
            self.done, self.problem = False, unreadable()
            return b""
        out = [
            self._encoded({**self._head}, {"index": index, "delta": {}, "finish_reason": self._unsaid(index)})
            for index in sorted(self._roles - self._reasons.keys())
        ]
        if self._usage_wanted and self._last_usage is not None:
            last = {**self._head, "choices": [], "usage": self._last_usage}
            out.append(b"data: %b\n\n" % msgspec.json.encode(last))
        return b"".join((*out, DONE))

    def _unsaid(self, index: int) -> str:
        return "tool_calls" if self._calls.get(index) else "stop"


def _data_of(frame: bytes) -> bytes | None:
    """Returns the data of a frame; None where it has none."""
    if frame.startswith(b"data: ") and b"\n" not in frame:
        return frame[6:].strip()
    data = [line[5:].removeprefix(b" ") for line in frame.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(data).strip() if data else None


def _is_text(words: bytes) -> bool:
    """These words are what may stand between quotes."""
    try:
        _TEXT.decode(b'"%b"' % words)
    except _BROKEN:
        return False
    return True


def _place(known: list[tuple[Any, str]], call: dict[str, Any]) -> int:
    """Returns the number of the call that a piece belongs to; that of a new one where it is none of those known."""
    index, call_id = call.get("index"), call.get("id")
    for place, (known_index, known_id) in enumerate(known):
        if (known_index == index and index is not None) or (index is None and call_id and known_id == call_id):
            return place
    if index is None and not call_id and known:
        return len(known) - 1
    return len(known)
