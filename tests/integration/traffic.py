"""Mixed requests as many impatient clients send them: every operation, providers that fail, callers that leave."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

CHAT_MODELS = ("gpt-5-mini", "gpt-4o-mini", "gpt-5.1")
EMBEDDING_MODEL = "text-embedding-3-small"
IMAGE_MODEL = "gpt-image-2"
IMAGE_SIZE, IMAGE_QUALITY = "1024x1024", "low"
# A hundred requests are these, in an order that the seed decides.
MIXTURE = {
    "chat": 34,
    "stream": 30,
    "embeddings": 19,
    "image": 2,
    "refused": 5,
    "cut": 3,
    "leaving stream": 4,
    "leaving chat": 3,
}
REFUSALS = ("status=503", "status=429", "status=400", "status=500", "html", "malformed", "drop")
CUTS = ("cut=5", "cut=1", "mid-error=2")
CLIENTS = 24


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `leaves`: the client closes once bytes of a stream are there, or soon after it has asked."""

    kind: str
    path: str
    body: dict[str, Any]
    leaves: bool = False

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client saw. `whole`: a status and every byte of the body came; `status` 0: nothing came."""

    call: Call
    request_id: str
    status: int
    whole: bool
    text: bytes = b""
    retry_after: float = -1
    # On the clock of `time.monotonic`: when it was asked, and when nothing more was to come.
    began: float = 0.0
    ended: float = 0.0

    @property
    def answered(self) -> bool:
        """Tells whether the client has what it asked for."""
        return self.whole and self.status == 200 and not (self.call.stream and b'"error"' in self.text)


def mixed_calls(count: int, seed: int) -> list[Call]:
    """Returns `count` calls in the proportions of the mixture."""
    source = random.Random(seed)
    kinds = [kind for kind, share in MIXTURE.items() for _ in range(share)]
    kinds = (kinds * (count // len(kinds) + 1))[:count]
    source.shuffle(kinds)
    return [_call(kind, number, source) for number, kind in enumerate(kinds)]


def _call(kind: str, number: int, source: random.Random) -> Call:
    words = f"Question {number} " + "about money " * source.randint(0, 40)
    if kind == "embeddings":
        return Call(kind, "/embeddings", {"model": EMBEDDING_MODEL, "input": words})
    if kind == "image":
        size = {"size": IMAGE_SIZE, "quality": IMAGE_QUALITY, "n": source.randint(1, 2)}
        return Call(kind, "/images/generations", {"model": IMAGE_MODEL, "prompt": words} | size)
    if kind == "refused" and source.random() < 0.3:
        faulty = f"{words} [[sim:{source.choice(REFUSALS)}]]"
        return Call(kind, "/embeddings", {"model": EMBEDDING_MODEL, "input": faulty})
    faults = _faults(kind, source)
    body: dict[str, Any] = {
        "model": source.choice(CHAT_MODELS),
        "messages": [{"role": "user", "content": f"{words} [[sim:{faults}]]"}],
        "max_completion_tokens": 200,
    }
    # A stream is passed on as it comes: a chunk that does not parse does not refuse it.
    refused_stream = kind == "refused" and faults != "malformed" and source.random() < 0.5
    if refused_stream or kind in {"stream", "cut", "leaving stream"}:
        body["stream"] = True
        if source.random() < 0.5:
            body["stream_options"] = {"include_usage": True}
    return Call(kind, "/chat/completions", body, leaves=kind.startswith("leaving"))


def _faults(kind: str, source: random.Random) -> str:
    length = f"chunks={source.randint(1, 80)}"
    if kind == "refused":
        return source.choice(REFUSALS)
    if kind == "cut":
        return f"chunks=20,{source.choice(CUTS)}"
    if kind == "leaving stream":
        return f"chunks=20,stall={source.randint(1, 9)}"
    if kind == "leaving chat":
        return "slow-headers=30"
    return f"{length},cached={source.randint(0, 9)},reasoning={source.randint(0, 9)}"


class Crowd:
    """A bounded number of clients.

    `patience`: how often each sends a call again that is refused with 503 and a time to wait, as SDKs do.
    """

    def __init__(self, base_url: str, api_key: str, clients: int = CLIENTS, patience: int = 0) -> None:
        self._base_url = base_url
        self._headers = {"authorization": f"Bearer {api_key}"}
        self._turns = asyncio.Semaphore(clients)
        self._patience = patience
        self.answers: list[Answer] = []
        self.told_to_wait = 0
        # Replies of which the client has bytes.
        self.begun = 0

    async def send(self, calls: Sequence[Call]) -> None:
        """Sends all calls and waits for what becomes of them."""
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
            await asyncio.gather(*(self._send(session, call) for call in calls))

    async def send_until(self, stopping: asyncio.Event, calls: Sequence[Call]) -> None:
        """Sends calls, from the first again after the last, until `stopping`; those under way are waited for."""
        timeout = aiohttp.ClientTimeout(total=120)
        async with (
            aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session,
            asyncio.TaskGroup() as all_,
        ):
            number = 0
            while not stopping.is_set():
                await self._turns.acquire()
                self._turns.release()
                all_.create_task(self._send(session, calls[number % len(calls)]))
                number += 1
                # Lets the tasks that were made take their turns.
                await asyncio.sleep(0.005)

    async def _send(self, session: aiohttp.ClientSession, call: Call) -> None:
        async with self._turns:
            began = time.monotonic()
            asking = asyncio.ensure_future(self._ask_patiently(session, call))
            if call.leaves and not call.stream:
                await asyncio.wait({asking}, timeout=0.2)
                asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                answer = await asking
                self.answers.append(replace(answer, began=began, ended=time.monotonic()))
                return
            self.answers.append(Answer(call, "", 0, whole=False, began=began, ended=time.monotonic()))

    async def _ask_patiently(self, session: aiohttp.ClientSession, call: Call) -> Answer:
        for _ in range(self._patience):
            answer = await self._ask(session, call)
            if answer.retry_after < 0:
                return answer
            self.told_to_wait += 1
            await asyncio.sleep(answer.retry_after)
        return await self._ask(session, call)

    async def _ask(self, session: aiohttp.ClientSession, call: Call) -> Answer:
        request_id, status, text, wait = "", 0, b"", -1.0
        try:
            async with session.post(self._base_url + call.path, json=call.body) as reply:
                request_id, status = reply.headers.get("x-request-id", ""), reply.status
                if status == 503:
                    wait = float(reply.headers.get("retry-after", -1))
                async for part in reply.content.iter_any():
                    self.begun += not text
                    text += part
                    if call.leaves:
                        reply.close()
                        return Answer(call, request_id, status, whole=False, text=text)
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return Answer(call, request_id, status, whole=False, text=text)
        return Answer(call, request_id, status, whole=True, text=text, retry_after=wait)
