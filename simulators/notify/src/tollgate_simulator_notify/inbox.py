"""Who receives, what came, and how the next answers fail; shared by the threads of both servers."""

import threading
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Receiver:
    """`faults` are (status, seconds to wait) of the next answers; a status of 0 closes the connection."""

    kind: str
    secret: str = ""
    faults: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Message:
    """`problem` is empty for what was accepted. `copy` is set when one with this id was accepted before."""

    receiver: str
    kind: str
    id: str
    text: str
    problem: str
    copy: bool = False


class Inbox:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self.receivers: dict[str, Receiver] = {}

    def add(self, message: Message) -> None:
        """Keeps a message and says whether it is a copy."""
        with self._changed:
            before = [one for one in self._messages if (one.receiver, one.id) == (message.receiver, message.id)]
            copy = bool(message.id and not message.problem and any(not one.problem for one in before))
            self._messages.append(
                Message(message.receiver, message.kind, message.id, message.text, message.problem, copy)
            )
            self._changed.notify_all()

    def fault(self, receiver: Receiver) -> tuple[int, int] | None:
        """Takes the next fault of a receiver; None for none."""
        with self._changed:
            return receiver.faults.pop(0) if receiver.faults else None

    def list(self, receiver: str, count: int, seconds: float) -> list[dict[str, Any]]:
        """Returns messages, of one receiver or all, once there are `count`, or after so many seconds."""

        def found() -> list[Message]:
            return [one for one in self._messages if receiver in {"", one.receiver}]

        with self._changed:
            self._changed.wait_for(lambda: len(found()) >= count, seconds)
            return [asdict(one) for one in found()]
