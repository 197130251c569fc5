"""Dead letters: what they are, whether they can be booked by now, and sending them to where they came from.

A letter is sent as its original bytes with `replay` appended, as protobuf messages concatenate: so billing compares it
with all that it ever booked of the request, and the second one of two is dropped. Nothing is noted about a letter;
whether it is booked is asked of the usage rows, and of the ledger, which keeps what was booked of replays.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError

from tollgate.events.v1 import usage_pb2 as events
from tollgate_billing.domain.event import decode, is_request_id
from tollgate_billing.domain.judge import ROW_LOST, without_row
from tollgate_billing.errors import InvalidQuery, NotFound, Poison
from tollgate_billing.letter_ports import BookedFinals, LetterId, LetterStore, UsageTopic
from tollgate_billing.ports import Letter
from tollgate_kit.clock import Clock

READY: Final = "ready"
BOOKED: Final = "booked"
UNUSABLE: Final = "unusable"
SENT: Final = "sent"
# Records are up to a megabyte each.
MOST_LETTERS: Final = 100
_MOST_NAMED: Final = 1_000
# Looked at once a minute: few at a time are held.
_A_PAGE: Final = 20
_REPLAY: Final = events.UsageRecorded(replay=True).SerializeToString()
_TOPIC: Final = "usage.recorded.v1"


@dataclass(frozen=True, slots=True)
class Inspected:
    """A letter and what became of it; `message` where it can be read, `problem` where it cannot be booked."""

    letter: Letter
    state: str
    problem: str = ""
    message: events.UsageRecorded | None = None

    @property
    def id(self) -> str:
        """What the letter is called."""
        return str(id_of(self.letter))


def id_of(letter: Letter) -> LetterId:
    """Returns what a letter is called."""
    return LetterId(letter.at_us, letter.partition, letter.offset)


def parse_id(text: str) -> LetterId:
    """Returns the id that is written so. Raises InvalidQuery."""
    parts = text.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) <= 18 for part in parts):
        raise InvalidQuery(f"a dead letter is called TIME-PARTITION-OFFSET, as `list` says, not {text[:80]!r}")
    return LetterId(*map(int, parts))


def readable(value: bytes) -> str:
    """Returns what of a record can be read as an event, as JSON; empty for none."""
    message = _read(value)
    return "" if message is None else MessageToJson(message, preserving_proto_field_name=True, indent=None)


class ReplayLetters:
    def __init__(self, letters: LetterStore, booked: BookedFinals, topic: UsageTopic, clock: Clock) -> None:
        self._letters = letters
        self._booked = booked
        self._topic = topic
        self._clock = clock

    async def page(self, limit: int, cursor: str) -> tuple[list[Inspected], str]:
        """Returns letters, newest first, and the cursor of those that follow. Raises Unavailable, InvalidQuery."""
        before = parse_id(cursor) if cursor else None
        found = await self._letters.letters(limit + 1, before)
        following = str(id_of(found[limit - 1])) if len(found) > limit else ""
        return await self._inspect(found[:limit]), following

    async def show(self, text: str) -> Inspected:
        """Returns one letter. Raises Unavailable, InvalidQuery, NotFound."""
        (found,) = await self._inspect([await self._find(text)])
        return found

    async def replay(self, ids: Sequence[str]) -> tuple[list[Inspected], Counter[str]]:
        """Sends those of the letters that can be booked and are not. Raises Unavailable, InvalidQuery, NotFound.

        Nothing is sent where one of the ids is of no letter.
        """
        if not 0 < len(ids) <= MOST_LETTERS:
            raise InvalidQuery(f"1 to {MOST_LETTERS} letters are replayed at once, not {len(ids)}")
        sent = await self._send(await self._inspect([await self._find(text) for text in dict.fromkeys(ids)]))
        return sent, Counter(one.state for one in sent)

    async def replay_all(self) -> tuple[list[Inspected], Counter[str]]:
        """Sends every letter that can be booked and is not. Raises Unavailable.

        Returns the first thousand of those that were not booked before, and how many letters have each state now.
        """
        done: list[Inspected] = []
        counts: Counter[str] = Counter()
        before: LetterId | None = None
        while found := await self._letters.letters(MOST_LETTERS, before):
            before = id_of(found[-1])
            sent = await self._send(await self._inspect(found))
            counts.update(one.state for one in sent)
            done += [one for one in sent if one.state != BOOKED][: _MOST_NAMED - len(done)]
        return done, counts

    async def waiting(self, since_us: int, most: int) -> tuple[list[Inspected], bool]:
        """Returns letters since then that are not booked, newest first, and whether there are more than `most`.

        Raises Unavailable.
        """
        waiting: list[Inspected] = []
        before: LetterId | None = None
        while found := await self._letters.letters(_A_PAGE, before):
            before = id_of(found[-1])
            fresh = [one for one in found if one.at_us >= since_us]
            waiting += [one for one in await self._inspect(fresh) if one.state != BOOKED]
            if len(waiting) > most or len(fresh) < len(found):
                break
        return waiting[:most], len(waiting) > most

    async def unbooked(self, letters: Sequence[Letter]) -> list[Letter]:
        """Returns the letters that are not booked. Raises Unavailable."""
        return [one.letter for one in await self._inspect(letters) if one.state != BOOKED]

    async def _find(self, text: str) -> Letter:
        found = await self._letters.letter(parse_id(text))
        if found is None:
            raise NotFound(f"there is no dead letter {text}")
        return found

    async def _inspect(self, letters: Iterable[Letter]) -> list[Inspected]:
        now = self._clock.now_us()
        found = [_decoded(letter, now) for letter in letters]
        # An event that is too old to be booked now may have been booked when it was not. Of what the ledger has no name
        # for nothing was, and PostgreSQL would not even be asked.
        names = {one.message.request_id for one in found if one.message is not None}
        names = set(filter(is_request_id, names))
        if not names:
            return found
        # In this order: rows are there before the ledger keeps what they say.
        finals = await self._booked.finals(names)
        rows = await self._letters.booked(names)
        booked, lost = rows.union(*finals.values()), without_row(finals, rows)
        return [_known(one, booked, lost) for one in found]

    async def _send(self, found: list[Inspected]) -> list[Inspected]:
        ready = [one for one in found if one.state == READY]
        by_topic: dict[str, list[tuple[bytes, bytes]]] = {}
        for one in ready:
            assert one.message is not None
            # All of a request meets in one partition, whatever key the letter had.
            record = (one.message.request_id.encode(), one.letter.value + _REPLAY)
            by_topic.setdefault(one.letter.topic, []).append(record)
        for topic, records in by_topic.items():
            await self._topic.send(topic, records)
        return [Inspected(one.letter, SENT, "", one.message) if one in ready else one for one in found]


def _known(one: Inspected, booked: AbstractSet[bytes], lost: AbstractSet[str]) -> Inspected:
    """Returns a letter with what is known of its event besides itself."""
    if one.message is None:
        return one
    if one.message.event_id in booked:
        return Inspected(one.letter, BOOKED, "", one.message)
    if one.state == READY and one.message.final and one.message.request_id in lost:
        return Inspected(one.letter, UNUSABLE, ROW_LOST, one.message)
    return one


def _decoded(letter: Letter, now_us: int) -> Inspected:
    if letter.topic != _TOPIC:
        return Inspected(letter, UNUSABLE, f"letters of {letter.topic} are not replayed")
    message = _read(letter.value)
    try:
        # By itself first: with more bytes behind it, a record that was cut off could seem whole.
        decode(letter.value, letter.offset, now_us)
    except Poison as error:
        return Inspected(letter, UNUSABLE, str(error), message)
    return Inspected(letter, READY, "", message)


def _read(value: bytes) -> events.UsageRecorded | None:
    try:
        return events.UsageRecorded.FromString(value)
    except DecodeError:
        return None
