"""The ASGI application: routes, request bodies, errors, and the simulator's own endpoints under `/_`.

Raw ASGI on purpose: the simulator stands beside the product while the product is measured.
"""

import json
import re
import secrets
import time
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

from tollgate_simulator_provider import (
    answers,
    bedrock,
    chat,
    claude,
    cloud_embeddings,
    compatible,
    completions,
    faults,
    forms,
    gemini,
    judgements,
    operations,
    pictures,
    responses,
    responses_check,
    sounds,
)
from tollgate_simulator_provider.clouds import Clouds
from tollgate_simulator_provider.delivery import Cut, Delivery, Gate, Headers, Message, Receive, Send
from tollgate_simulator_provider.ledger import Ledger
from tollgate_simulator_provider.refusals import Refused, RefusedByVendor, error_body, recorded
from tollgate_simulator_provider.vendors import vendors

MOST_BYTES = 64 * 1024 * 1024
MOST_ENTRIES = 10_000
JSON: Headers = [(b"content-type", b"application/json"), (b"x-simulated", b"true")]
STREAM: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-simulated", b"true"),
]
VENDOR = re.compile(r"/([a-z0-9-]+)/v1(/.*)")
EVENT_STREAM: Headers = [(b"content-type", b"application/vnd.amazon.eventstream"), (b"x-simulated", b"true")]
FILE = re.compile(r"/_files/([0-9a-f]{32})-(\d{1,4})x(\d{1,4})\.png")
OPERATIONS = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/embeddings": "embeddings",
    "/images/generations": "images",
    "/anthropic/v1/messages": "messages",
    "/images/edits": "edits",
    "/images/variations": "variations",
    "/completions": "completions",
    "/moderations": "moderations",
    "/rerank": "rerank",
    "/cohere/v2/rerank": "rerank-cohere",
    "/jina/v1/rerank": "rerank-jina",
    "/audio/speech": "speech",
    "/audio/transcriptions": "transcriptions",
    "/audio/translations": "translations",
}
FORMS = {"transcriptions", "translations", "edits", "variations"}
PICTURES = {"images", "edits", "variations"}
EMBEDDINGS = {
    "invoke": cloud_embeddings.invoke,
    "predict": cloud_embeddings.predict,
    "embedContent": cloud_embeddings.embed_content,
}
ASIDE_OF_CLOUDS = ("/azure/", "/bedrock/", "/vertex/")
# Where a key is, other than in `authorization`.
KEYS = {"messages": b"x-api-key", "contents": b"x-goog-api-key"}


class Simulator:
    """Answers as a provider would. `api_key`, when not empty, is the bearer token that it demands."""

    def __init__(self, ledger: Ledger, api_key: str = "") -> None:
        self._ledger = ledger
        self._api_key = api_key
        self._boot = secrets.token_hex(4)
        self._queued: list[faults.Faults] = []
        self._clouds = Clouds()
        self._gate = Gate()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        vendor, path = _vendor(scope["path"])
        headers = dict(scope["headers"])
        called = gemini.PATH.fullmatch(scope["path"])
        cloud = self._clouds.find(scope["path"], scope.get("raw_path") or b"")
        operation = "contents" if called is not None else OPERATIONS.get(path)
        if vendor and operation == "responses":
            # Compatible vendors are compatible with chat.
            operation = None
        operation = cloud.operation if cloud is not None else operation
        try:
            if operation is not None and scope["method"] == "POST":
                delivery = Delivery(receive, send, self._ledger, operation, headers, self._gate)
                delivery.transport = scope["state"]["transport"]
                delivery.vendor = vendor
                if called is not None:
                    delivery.model, delivery.verb = called[1], called[2]
                    delivery.stream = delivery.verb.startswith("stream")
                delivery.cloud, delivery.query = cloud, scope["query_string"]
                await self._deliver(delivery, headers, receive)
            else:
                await self._aside(scope, path, receive, send)
        except Refused as refused:
            await _reply(send, refused.status, error_body(refused.status, refused.message, code=refused.code))

    async def _deliver(self, delivery: Delivery, headers: dict[bytes, bytes], receive: Receive) -> None:
        outcome = "interrupted"
        try:
            await self._attempt(delivery, headers, receive)
            outcome = "completed" if delivery.status < 400 else "refused"
        except Cut as cut:
            outcome = cut.outcome
        finally:
            delivery.finish(outcome)

    async def _attempt(self, delivery: Delivery, headers: dict[bytes, bytes], receive: Receive) -> None:
        try:
            body = await _body(receive)
            if delivery.cloud is not None:
                delivery.cloud.check(delivery.query, headers, body)
            form = delivery.operation in FORMS
            request = forms.read(body, headers.get(b"content-type", b"")) if form else _object(body)
            self._prepare(delivery, request, headers)
            delivery.accept()
            if delivery.faults.refuse and not delivery.vendor:
                at_vertex = delivery.cloud is not None and delivery.operation in {"messages", "contents"}
                vendor = "vertex" if at_vertex else WIRES.get(delivery.operation, "openai")
                raise recorded(vendor, delivery.faults.refuse)
            await self._answer(delivery, request, headers)
        except RefusedByVendor as refused:
            named = [(b"x-amzn-errortype", refused.name.encode())] if refused.name else []
            await delivery.whole(refused.status, [*self._headers(delivery, JSON), *named], refused.body)
        except Refused as refused:
            await self._say(delivery, refused)

    async def _say(self, delivery: Delivery, refused: Refused) -> None:
        """Sends an error in the words of the wire, or of the cloud that it is spoken at."""
        own = delivery.cloud.error(refused) if delivery.cloud is not None else None
        body = _error(delivery, refused.status, refused.message, param=refused.param, code=refused.code)
        found, body = own or ([], body)
        await delivery.whole(refused.status, [*self._headers(delivery, JSON), *found], body)

    def _prepare(self, delivery: Delivery, request: dict[str, Any], headers: dict[bytes, bytes]) -> None:
        if delivery.cloud is not None:
            delivery.stream = delivery.cloud.stream(request)
            request |= delivery.cloud.request(request)
            delivery.model = request.get("model", delivery.model)
        if delivery.operation not in {"contents", "converse"}:
            model = request.get("model")
            if not isinstance(model, str) or not model:
                raise Refused(400, "you must provide a model parameter", param="model")
            delivery.model = model
            streams = request.get("stream") in {True, "true"} or request.get("stream_format") == "sse"
            delivery.stream = delivery.stream if delivery.cloud is not None else streams
        delivery.id = f"chatcmpl-sim{self._boot}{delivery.sequence:08x}"
        if delivery.operation == "contents":
            gemini.check_shape(gemini.plainly(request))
        try:
            delivery.faults = self._faults(request, headers)
        except faults.UnknownFault as error:
            raise Refused(400, f"[simulated] {error}", code="unknown_fault") from error
        given = headers.get(KEYS.get(delivery.operation, b"authorization"), b"")
        if self._api_key and delivery.cloud is None and given.removeprefix(b"Bearer ") != self._api_key.encode():
            raise Refused(401, "Incorrect API key provided.")

    def _faults(self, request: dict[str, Any], headers: dict[bytes, bytes]) -> faults.Faults:
        if b"x-sim-fault" in headers:
            return faults.parse(headers[b"x-sim-fault"].decode("latin-1"))
        if self._queued:
            return self._queued.pop(0)
        text = request.get("prompt", request.get("input"))
        messages = request.get("messages")
        contents = request.get("contents")
        if isinstance(contents, list) and contents and isinstance(contents[-1], dict):
            text = "".join(str(part.get("text", "")) for part in contents[-1].get("parts") or ())
        if isinstance(text, list):
            text = responses.last_of_user(responses.items_of(text))
        if isinstance(messages, list):
            text = answers.last_of_user([item for item in messages if isinstance(item, dict)])
        text = text or cloud_embeddings.spoken(request)
        return faults.in_text(text) if isinstance(text, str) else faults.NONE

    async def _answer(self, delivery: Delivery, request: dict[str, Any], headers: dict[bytes, bytes]) -> None:
        asked = delivery.faults
        if asked.status or asked.html:
            await self._refuse(delivery)
        elif delivery.operation in {"chat", "responses"}:
            await self._chat(delivery, _chat_reply(delivery, request))
        elif delivery.operation == "converse":
            await self._chat(delivery, bedrock.build(request, delivery.model, asked, delivery.id))
        elif delivery.operation == "messages":
            claude.check(request, headers if delivery.cloud is None else {b"anthropic-version": b"in the body"})
            await self._chat(delivery, claude.build(request, asked, delivery.id))
        elif delivery.operation == "contents":
            await self._contents(delivery, request)
        elif delivery.operation in PICTURES:
            await self._pictures(delivery, request, headers)
        elif delivery.operation == "completions":
            completions.check(request)
            await self._chat(delivery, completions.build(request, asked, delivery.id, int(time.time())))
        elif delivery.operation == "speech":
            await self._speech(delivery, sounds.speak(request))
        elif delivery.operation in FORMS:
            await self._transcript(delivery, sounds.hear(request))
        else:
            await self._counted(delivery, request)

    async def _pictures(self, delivery: Delivery, request: dict[str, Any], headers: dict[bytes, bytes]) -> None:
        if delivery.operation in FORMS:
            request = operations.seen(request, variation=delivery.operation == "variations")
        origin = "http://" + headers.get(b"host", b"localhost").decode("latin-1")
        reply, delivery.units = operations.images(request, int(time.time()), origin)
        await self._whole(delivery, reply)

    async def _counted(self, delivery: Delivery, request: dict[str, Any]) -> None:
        if delivery.operation not in EMBEDDINGS:
            reply, delivery.units = self._judged(delivery, request)
            await self._whole(delivery, reply)
            return
        asked = {name: value for name, value in request.items() if name != "model"}
        reply, delivery.units = EMBEDDINGS[delivery.operation](asked, delivery.model)
        found = [(b"x-amzn-bedrock-input-token-count", b"%d" % delivery.units["input"])]
        await self._whole(delivery, reply, found if delivery.operation == "invoke" else [])

    async def _contents(self, delivery: Delivery, request: dict[str, Any]) -> None:
        if "embed" in delivery.verb.lower():
            reply, delivery.units = gemini.embed(request, delivery.model, batch=delivery.verb.startswith("batch"))
            await self._whole(delivery, reply)
            return
        request = gemini.plainly(request)
        gemini.check(request, delivery.model)
        await self._chat(delivery, gemini.build(request, delivery.model, delivery.faults, delivery.id))

    @staticmethod
    def _judged(delivery: Delivery, request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
        if delivery.operation == "moderations":
            return judgements.moderate(request, delivery.id)
        if delivery.operation in judgements.RERANKS:
            return judgements.rank_strictly(request, delivery.id, delivery.operation)
        return (
            judgements.rank(request, delivery.id) if delivery.operation == "rerank" else operations.embeddings(request)
        )

    async def _speech(self, delivery: Delivery, speech: sounds.Speech) -> None:
        delivery.units, delivery.reported = speech.units, speech.reported
        await delivery.head(200, self._headers(delivery, STREAM if speech.events else _typed(speech.kind)))
        await delivery.pause(delivery.faults.delay)
        for piece in speech.pieces():
            await delivery.chunk(piece)
        await delivery.end()

    async def _transcript(self, delivery: Delivery, heard: sounds.Transcript) -> None:
        delivery.units, delivery.reported = heard.units, heard.reported
        if not (delivery.stream and heard.streams):
            await delivery.whole(200, self._headers(delivery, _typed(heard.kind)), heard.body())
            return
        await delivery.head(200, self._headers(delivery, STREAM))
        for event in heard.events():
            await delivery.chunk(event)
        await delivery.end()

    async def _refuse(self, delivery: Delivery) -> None:
        asked = delivery.faults
        status = asked.status or 200
        headers = self._headers(delivery, JSON)
        if asked.retry_after:
            headers.append((b"retry-after", asked.retry_after.encode()))
        refused = Refused(status, f"[simulated] This is the {status} you asked for.", code=asked.code or None)
        body = _error(delivery, status, refused.message, code=refused.code)
        if delivery.cloud is not None and (own := delivery.cloud.error(refused)) is not None:
            headers, body = [*headers, *own[0]], own[1]
        elif delivery.operation == "contents":
            body = gemini.error_body(status, f"[simulated] This is the {status} you asked for.", asked.retry_after)
        if asked.html:
            headers[0] = (b"content-type", b"text/html; charset=utf-8")
            body = b"<!doctype html><title>simulated</title><h1>Bad gateway, or a login page</h1>"
        await delivery.whole(status, headers, b"{" + body if asked.malformed else body)

    async def _chat(
        self,
        delivery: Delivery,
        reply: chat.Reply
        | compatible.Reply
        | claude.Reply
        | gemini.Reply
        | bedrock.Reply
        | completions.Reply
        | responses.Reply,
    ) -> None:
        delivery.units = reply.units
        if not delivery.stream:
            delivery.reported = reply.usage()
            body = reply.body()
            await delivery.whole(200, self._headers(delivery, JSON), body[:-9] if delivery.faults.malformed else body)
            return
        converse = delivery.operation == "converse"
        await delivery.head(200, self._headers(delivery, EVENT_STREAM if converse else STREAM))
        await delivery.pause(delivery.faults.delay)
        delivery.reported = reply.usage() if reply.include_usage else None
        frames = reply.frames() if delivery.cloud is None else delivery.cloud.frames(reply.frames())
        place = 0
        frame = next(frames, None)
        while frame is not None:
            following = next(frames, None)
            data = frame[:-9] + b"\n\n" if delivery.faults.malformed and place == 2 else frame
            await delivery.chunk(data, last=following is None)
            frame, place = following, place + 1
        await delivery.end()

    async def _whole(self, delivery: Delivery, reply: dict[str, Any], more: Headers | None = None) -> None:
        delivery.reported = reply.get("usage")
        body = json.dumps(reply, separators=(",", ":")).encode()
        await delivery.whole(
            200, self._headers(delivery, [*JSON, *(more or ())]), body[:-9] if delivery.faults.malformed else body
        )

    def _headers(self, delivery: Delivery, headers: Headers) -> Headers:
        return [*headers, (b"x-request-id", f"req_sim{self._boot}{delivery.sequence:08x}".encode())]

    async def _aside(self, scope: dict[str, Any], path: str, receive: Receive, send: Send) -> None:
        method, query = scope["method"], scope["query_string"]
        if path.startswith(ASIDE_OF_CLOUDS):
            await self._aside_of_clouds(scope, path, receive, send)
        elif path in {"/_faults", "/_release"} and method == "POST":
            await self._tell(path, await _body(receive), send)
        elif method not in {"GET", "HEAD"} or path in OPERATIONS:
            raise Refused(405, f"Not allowed to {method} here.", code="method_not_allowed")
        elif path == "/models":
            await _reply(send, 200, json.dumps(operations.models()).encode())
        elif path.startswith("/models/"):
            await _reply(send, 200, json.dumps(operations.model(path[8:])).encode())
        elif path == "/_ledger":
            await _reply(send, 200, self._page(query))
        elif path == "/_ledger/summary":
            await _reply(send, 200, json.dumps(self._ledger.summary()).encode())
        elif path in {"/", "/_health"}:
            await _reply(send, 200, b'{"simulated": true, "message": "A simulated provider; nothing here is real."}')
        elif found := FILE.fullmatch(path):
            width, height = pictures.size_of(f"{found[2]}x{found[3]}")
            await _reply(send, 200, pictures.draw(bytes.fromhex(found[1]), width, height), b"image/png")
        else:
            raise Refused(404, f"Invalid URL ({method} {path})", code="unknown_url")

    async def _aside_of_clouds(self, scope: dict[str, Any], path: str, receive: Receive, send: Send) -> None:
        method, host = scope["method"], dict(scope["headers"]).get(b"host", b"localhost").decode("latin-1")
        body = await _body(receive) if method == "POST" else b""
        reply = self._clouds.aside(method, path, body, f"http://{host}")
        if reply is None:
            raise Refused(404, f"Invalid URL ({method} {path})", code="unknown_url")
        await _reply(send, *reply)

    def _page(self, query: bytes) -> bytes:
        asked = parse_qs(query.decode("latin-1"))
        try:
            since, limit = int(asked.get("since", ["0"])[0]), int(asked.get("limit", [str(MOST_ENTRIES)])[0])
        except ValueError as error:
            raise Refused(400, "since and limit are numbers") from error
        items, cursor = self._ledger.read(max(0, since), min(MOST_ENTRIES, max(1, limit)))
        return json.dumps({"items": items, "next": cursor}).encode()

    async def _tell(self, path: str, body: bytes, send: Send) -> None:
        """Lets replies go on that are held, or plants faults.

        `{"faults": "status=503", "count": 3}` makes the next three requests fail; count 0 forgets what waits.
        """
        if path == "/_release":
            self._gate.open()
            await _reply(send, 200, b'{"released": true}')
            return
        asked = _object(body)
        try:
            wanted = faults.parse(str(asked.get("faults", "")))
        except faults.UnknownFault as error:
            raise Refused(400, str(error), code="unknown_fault") from error
        count = asked.get("count", 1)
        self._queued = [*self._queued, *[wanted] * min(10_000, count)] if type(count) is int and count > 0 else []
        await _reply(send, 200, json.dumps({"queued": len(self._queued)}).encode())


# Whose refusals a request that asks for one is told.
WIRES = {"messages": "anthropic", "contents": "gemini", "converse": "bedrock"}


def _typed(kind: bytes) -> Headers:
    return [(b"content-type", kind), *JSON[1:]]


def _vendor(path: str) -> tuple[str, str]:
    """Returns the compatible vendor whose ways a path asks for, or nothing, and the path on OpenAI's wire."""
    found = VENDOR.fullmatch(path)
    if found is None or found[1] not in vendors():
        return "", path.removeprefix("/v1")
    return found[1], found[2]


def _chat_reply(delivery: Delivery, request: dict[str, Any]) -> chat.Reply | compatible.Reply | responses.Reply:
    vendor, asked = delivery.vendor, delivery.faults
    if delivery.operation == "responses":
        responses_check.check(request)
        return responses.build(request, asked, delivery.id, int(time.time()))
    if not vendor:
        chat.check(request)
        return chat.build(request, asked, delivery.id, int(time.time()))
    if asked.refuse:
        raise compatible.refusal(vendor, asked.refuse)
    compatible.check(vendor, request)
    off = (request.get("thinking") or {}).get("type") == "disabled"
    thoughts = 0 if off else vendors()[vendor].thinks.get(delivery.model, 0)
    if thoughts and not asked.reasoning:
        asked = replace(asked, reasoning=thoughts)
    return compatible.build(vendor, request, chat.build(request, asked, delivery.id, int(time.time())))


def _error(
    delivery: Delivery, status: int, message: str, *, param: str | None = None, code: str | None = None
) -> bytes:
    if delivery.operation == "messages":
        return claude.error_body(status, message)
    if delivery.operation == "contents":
        return gemini.error_body(status, message)
    if delivery.operation in judgements.RERANKS:
        return judgements.rerank_error(delivery.operation, message)
    return error_body(status, message, param=param, code=code)


async def _body(receive: Receive) -> bytes:
    message: Message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        return bytes(message["body"])
    parts, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise Cut("client_gone")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise Refused(413, f"The body is larger than {MOST_BYTES} bytes.")
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "We could not parse the JSON body of your request.") from error
    if not isinstance(value, dict):
        raise Refused(400, "The JSON body of your request is not an object.")
    return value


async def _reply(send: Send, status: int, body: bytes, kind: bytes = b"application/json") -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), (b"x-simulated", b"true")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
