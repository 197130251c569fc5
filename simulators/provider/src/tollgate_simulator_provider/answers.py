"""What the simulated model says: the same question has the same answer, another question another one. No I/O."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tollgate_simulator_provider.faults import Faults, without_markers
from tollgate_simulator_provider.tokens import message_text

VOCABULARY = (
    "a gate stands where the road meets the river and every cart that passes pays its toll in full while the keeper "
    "counts slowly writes each coin into a ledger looks up at the sky thinks about the weather then opens the bar "
    "wide because nobody should wait longer than they must even on busy days"
)
EXCERPT_WORDS = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer in the pieces a stream sends, each of which is one token."""

    pieces: tuple[str, ...]
    finish: str
    tool: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Question:
    """What decides the answer, taken from a chat request."""

    messages: Sequence[Mapping[str, Any]]
    seed: bytes
    prompt: str
    limit: int
    stop: tuple[str, ...]
    tool: Mapping[str, Any] | None
    schema: object


def choice(question: Question, index: int, faults: Faults) -> Choice:
    """Returns answer number `index`."""
    if question.tool is not None:
        return _tool_call(question.tool)
    if question.schema is not None:
        pieces = _cut(json.dumps(sample(question.schema), separators=(",", ":")))
    elif faults.say:
        pieces = _cut(faults.say)
    else:
        pieces = _sentences(question, index, faults.chunks)
    pieces = _until_stop(pieces, question.stop)
    if 0 <= question.limit < len(pieces):
        return Choice(tuple(pieces[: question.limit]), "length")
    return Choice(tuple(pieces), "stop")


def until(choice: Choice, stops: tuple[str, ...]) -> Choice:
    """Returns the answer up to the first of the stop sequences; itself where none is in it."""
    if choice.tool or not any(stop in choice.text for stop in stops):
        return choice
    return Choice(tuple(_until_stop(list(choice.pieces), stops)), "stop")


def thoughts(question: Question, count: int) -> tuple[str, ...]:
    """Returns `count` pieces of reasoning."""
    return tuple(f" {word}" if at else word.capitalize() for at, word in enumerate(_words(question.seed, 99, count)))


def seed_of(model: str, messages: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns what the answer is derived from: the model and the conversation."""
    text = json.dumps([model, messages], separators=(",", ":"), sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def last_of_user(messages: Sequence[Mapping[str, Any]]) -> str:
    """Returns the text of the last message of the user, or the empty text."""
    return next((message_text(message) for message in reversed(messages) if message.get("role") == "user"), "")


def sample(schema: object) -> object:
    """Returns a small value that fits a JSON Schema, as far as type, enum, const, properties and items go."""
    if not isinstance(schema, dict):
        return {"simulated": True}
    given = [schema[key] for key in ("const", "default") if key in schema] or list(schema.get("enum") or ())
    if given:
        return given[0]
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices:
        return sample(choices[0])
    return _typed(schema)


def _typed(schema: dict[str, Any]) -> object:
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    # Gemini's own schemas write types in capitals.
    kind = kind.lower() if isinstance(kind, str) else kind
    if kind == "object":
        return {name: sample(inner) for name, inner in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [sample(schema.get("items", {"type": "string"}))] * max(1, int(schema.get("minItems", 1)))
    simple: dict[object, object] = {"string": "simulated", "integer": 1, "number": 1.5, "boolean": True, "null": None}
    return simple.get(kind, "simulated")


def _cut(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def _tool_call(tool: Mapping[str, Any]) -> Choice:
    arguments = json.dumps(sample(tool.get("parameters") or {"type": "object"}), separators=(",", ":"))
    return Choice(tuple(_cut(arguments)), "tool_calls", str(tool.get("name", "")))


def _sentences(question: Question, index: int, count: int) -> list[str]:
    said = without_markers(question.prompt).split()[:EXCERPT_WORDS]
    pieces = ["[simulated]", " You", " said:", *[f" {word[:40]}" for word in said], "."]
    count = count or len(pieces) + 16 + question.seed[0] % 17
    for at, word in enumerate(_words(question.seed, index, max(0, count - len(pieces)))):
        opening = at % 12 == 0
        pieces.append(f" {word.capitalize() if opening else word}" + ("." if at % 12 == 11 else ""))
    return pieces[:count]


def _words(seed: bytes, index: int, count: int) -> list[str]:
    state = int.from_bytes(seed[:8], "little") ^ (index * 0x9E3779B97F4A7C15)
    vocabulary = VOCABULARY.split()
    words = []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        words.append(vocabulary[(state >> 33) % len(vocabulary)])
    return words


def _until_stop(pieces: list[str], stops: tuple[str, ...]) -> list[str]:
    if not stops:
        return pieces
    text = "".join(pieces)
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    if not found:
        return pieces
    kept: list[str] = []
    room = min(found)
    for piece in pieces:
        if room <= 0:
            break
        kept.append(piece[:room])
        room -= len(piece)
    return kept
