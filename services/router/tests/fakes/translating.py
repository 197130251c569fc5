"""A request of one dialect at a provider of another wire, without a router around it."""

import json
from dataclasses import replace
from typing import Any, Final

from services.router.tests.fakes.dialect_bodies import CHAT, CONTENTS, MESSAGES, RESPONSES
from services.router.tests.fakes.versions import channel, snapshot

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.translate import Sending, sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.target import Target

OPENAI, ANTHROPIC, GEMINI = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_ANTHROPIC, wire.DIALECT_GEMINI
RESPONSE: Final = wire.DIALECT_OPENAI_RESPONSES
BODIES: Final[dict[int, dict[str, Any]]] = {OPENAI: CHAT, ANTHROPIC: MESSAGES, GEMINI: CONTENTS, RESPONSE: RESPONSES}
MODELS: Final = {OPENAI: "gpt-5-mini", ANTHROPIC: "claude-haiku-4-5", GEMINI: "gemini-3.5-flash"}
NAMES: Final = {OPENAI: "chat", ANTHROPIC: "messages", GEMINI: "contents", RESPONSE: "responses"}
# Every pair that is translated, by names for test ids.
PAIRS: Final = {
    f"{NAMES[dialect]}-to-{NAMES[upstream]}": (dialect, upstream)
    for dialect in BODIES
    for upstream in MODELS
    if dialect != upstream
}


def target(upstream: int) -> Target:
    """Returns a target of a wire."""
    found = snapshot([channel("a")]).route("default", "able")
    assert found is not None
    plain = found.base.levels[0].targets[0]
    return replace(plain, wire=upstream, upstream_model=MODELS[upstream], max_output_tokens=8192)


def translated(dialect: int, upstream: Target, body: Any, *, stream: bool = False) -> Sending:
    """Returns what is sent for a body, JSON text or what it says. Raises Refused, and InvalidBody for no object."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    opened = wire.Open(dialect=dialect, operation=wire.OPERATION_CHAT, model="asked", stream=stream, usage_wanted=True)
    return sending(opened, read_body(text), upstream, text)
