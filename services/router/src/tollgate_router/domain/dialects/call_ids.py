"""Ids of calls: made where a provider names none, and told apart where a caller brings one twice.

Claude refuses a conversation in which two calls have one id, and a result finds its call by nothing else.
"""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import structs

from tollgate_router.domain.dialects.neutral import Call, Message, Part, Result

# OpenAI has refused ids of more than 40 letters.
_MOST_OF_REPLY: Final = 24
_OTHERS: Final = re.compile(r"[^A-Za-z0-9]")


def call_id(reply_id: str, number: int) -> str:
    """Returns the id of a call of this reply, counted from 0: another one in each turn, the same at each reading."""
    return f"call_{_OTHERS.sub('', reply_id)[-_MOST_OF_REPLY:]}_{number}"


def told_apart(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Returns the conversation with one id to each call, and the results with those of their calls."""
    ids = [part.id for message in messages for part in message.parts if isinstance(part, Call)]
    if len(set(ids)) == len(ids):
        return messages
    telling = _Telling(ids)
    return tuple(Message(message.role, tuple(telling.parts(message.parts))) for message in messages)


class _Telling:
    def __init__(self, ids: Iterable[str]) -> None:
        self._known = set(ids)
        self._seen: set[str] = set()
        # By the caller's id: the calls that wait for a result, or the last one that had it.
        self._waiting: dict[str, list[str]] = {}
        self._answered: set[str] = set()

    def parts(self, parts: Iterable[Part]) -> Iterable[Part]:
        for part in parts:
            if isinstance(part, Call):
                yield structs.replace(part, id=self._called(part.id))
            elif isinstance(part, Result) and part.call_id in self._waiting:
                yield structs.replace(part, call_id=self._answer(part.call_id))
            else:
                yield part

    def _called(self, said: str) -> str:
        found, number = said, 1
        while found in self._seen or (found != said and found in self._known):
            number += 1
            found = f"{said}_{number}"
        self._seen.add(found)
        if said in self._answered:
            self._answered.discard(said)
            self._waiting[said] = []
        self._waiting.setdefault(said, []).append(found)
        return found

    def _answer(self, said: str) -> str:
        self._answered.add(said)
        waiting = self._waiting[said]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]
