"""A request on its way to a provider that takes other names, other values, or not everything."""

from typing import Any, Final

import msgspec

from tollgate_resources import RequestQuirks
from tollgate_router.errors import Refused

Members = dict[str, msgspec.Raw]

_ENCODER: Final = msgspec.json.Encoder()
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_NULL: Final = msgspec.Raw(b"null")
_OFF: Final = msgspec.Raw(b'{"type":"disabled"}')
_THOUGHT: Final = "reasoning_content"
_ASSISTANT: Final = b'"assistant"'
_CALLS: Final = b'"tool_calls"'
# Values by which a caller says what is so anyway: refused by none, and left out without a word.
_EMPTY: Final[tuple[Any, ...]] = ([], {}, "")
_USUAL: Final[dict[str, tuple[Any, ...]]] = {"n": (1,), "response_format": ("text",), "modalities": (["text"],)}


class RequestEdit:
    """What is changed in the members of a request. Made once for each channel."""

    def __init__(self, quirks: RequestQuirks) -> None:
        self._quirks = quirks
        self._always = {name: _raw(value) for name, value in quirks.always.items()}
        self._default = {name: _raw(value) for name, value in quirks.default.items()}
        names = (
            *quirks.drop_in_messages,
            *(("developer",) if quirks.developer_role == "system" else ()),
            *((_THOUGHT,) if quirks.reasoning_pieces else ()),
        )
        # A quote within a JSON string is escaped: these are found where they are names or whole values only.
        self._thoughts = quirks.returns_reasoning or "welcome"
        self._in_messages = tuple(f'"{name}"'.encode() for name in names)

    def edit(self, members: Members, conversation: str = "") -> tuple[str, ...]:
        """Changes the members in place, and returns the names of what was left out. Raises Refused.

        `conversation` is where the messages are, `messages` or `input`; empty for what is no conversation.
        """
        quirks = self._quirks
        dropped: list[str] = []
        for name in quirks.refuse:
            if name in members and not _is_usual(name, _value(members.pop(name))):
                raise Refused(f"{name} cannot be carried to the provider of this model.", name)
        for name, allowed in quirks.accept.items():
            self._check(members, name, allowed)
        dropped += [name for name in quirks.drop if name in members and not _is_usual(name, _value(members.pop(name)))]
        for name, new in quirks.rename.items():
            if name in members:
                value = members.pop(name)
                if new in members and bytes(members[new]) != b"null":
                    dropped.append(name)
                else:
                    members[new] = value
        for name, words in quirks.values.items():
            said = _value(members[name]) if name in members else None
            if isinstance(said, str) and said in words:
                members[name] = _raw(words[said])
        if conversation:
            dropped += self._said(members, conversation)
        return tuple(dropped)

    def _check(self, members: Members, name: str, allowed: tuple[Any, ...]) -> None:
        if name not in members:
            return
        value = _value(members[name])
        kind = value.get("type") if isinstance(value, dict) else value
        if value is None or _is_usual(name, kind):
            del members[name]
        elif kind not in allowed:
            listed = ", ".join(str(one) for one in allowed)
            raise Refused(f"{name}: the provider of this model takes only {listed}.", name)

    def _said(self, members: Members, conversation: str) -> list[str]:
        if self._quirks.stream_options is False:
            members.pop("stream_options", None)
        members |= self._always
        for name, value in self._default.items():
            members.setdefault(name, value)
        if self._quirks.thinking_switch and _value(members.get("reasoning_effort", _NULL)) == "none":
            del members["reasoning_effort"]
            members.setdefault("thinking", _OFF)
        messages = members.get(conversation)
        raw = b"" if messages is None else bytes(messages)
        edits = any(name in raw for name in self._in_messages)
        thinks = self._thoughts != "welcome" and _ASSISTANT in raw and (_CALLS in raw or "tools" in members)
        found = _value(messages) if messages is not None and (edits or thinks) else None
        if not isinstance(found, list):
            return []
        dropped: dict[str, None] = {}
        turns = [message for message in found if isinstance(message, dict)]
        for message in turns if edits else ():
            self._message(message, dropped, conversation)
        if thinks and self._has_no_thoughts(turns) and members.get("thinking") != _OFF:
            # It may only go on thinking with its own thoughts, which most clients do not keep.
            for name in ("reasoning_effort", "thinking"):
                if name in members:
                    dropped[name] = None
                    del members[name]
            members["thinking"] = _OFF
        members[conversation] = _raw(found)
        return list(dropped)

    def _has_no_thoughts(self, turns: list[dict[str, Any]]) -> bool:
        """Tells whether thoughts are missing that cannot be made up for; a dot is put in where that will do."""
        missing = [turn for turn in turns if turn.get("role") == "assistant" and not turn.get("reasoning_content")]
        if self._thoughts == "strict":
            return bool(missing)
        for turn in missing:
            if turn.get("tool_calls"):
                turn["reasoning_content"] = "."
        return False

    def _message(self, message: dict[str, Any], dropped: dict[str, None], conversation: str) -> None:
        for name in self._quirks.drop_in_messages:
            if name in message and not _is_usual(name, message.pop(name)):
                dropped[f"{conversation}.{name}"] = None
        if self._quirks.developer_role == "system" and message.get("role") == "developer":
            message["role"] = "system"
        for name, beside in self._quirks.reasoning_pieces.items():
            if thought := message.pop(_THOUGHT, None):
                # A client that kept the provider's own pieces knows them better.
                message.setdefault(name, [{**beside, "text": thought}])


def _is_usual(name: str, value: Any) -> bool:
    return value is None or value is False or value in _EMPTY or value in _USUAL.get(name, ())


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_ENCODER.encode(value))


def _value(raw: msgspec.Raw) -> Any:
    """Returns what a member says; what cannot be read is left for the provider to refuse."""
    try:
        return msgspec.json.decode(raw)
    except _BROKEN:
        return ...
