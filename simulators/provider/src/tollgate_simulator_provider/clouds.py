"""Models at clouds: which request belongs to which, what is checked first, and what its replies are wrapped in."""

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import unquote

from tollgate_simulator_provider import answers, aws_signature, azure, bedrock, gemini, responses, vertex
from tollgate_simulator_provider.refusals import Refused, error_body

Headers = list[tuple[bytes, bytes]]


class Cloud(Protocol):
    """One request to a cloud."""

    @property
    def operation(self) -> str:
        """The wire within it."""
        ...

    def check(self, query: bytes, headers: Mapping[bytes, bytes], body: bytes) -> None:
        """Raises Refused for what does not prove who asks, or has not the form of this cloud."""
        ...

    def request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Returns the request with the model in it. Raises Refused."""
        ...

    def stream(self, request: dict[str, Any]) -> bool:
        """Tells whether a stream is asked for."""
        ...

    def frames(self, plain: Iterator[bytes]) -> Iterator[bytes]:
        """Yields what a stream is made of."""
        ...

    def error(self, refused: Refused) -> tuple[Headers, bytes] | None:
        """Returns further headers and the body of an error; None where it is that of the wire."""
        ...


class AtAzure:
    """OpenAI's wire at a deployment, or at the v1 path."""

    def __init__(self, deployment: str, operation: str, application: azure.Application) -> None:
        self.operation = operation
        self._deployment = deployment
        self._application = application

    def check(self, query: bytes, headers: Mapping[bytes, bytes], body: bytes) -> None:
        """The key's header or the token, and the version."""
        del body
        azure.check(self._deployment, query, headers, self._application)

    def request(self, request: dict[str, Any]) -> dict[str, Any]:
        """On the v1 path the body names the deployment; elsewhere the path does."""
        messages = request.get("messages")
        if isinstance(messages, list):
            azure.judge(answers.last_of_user([item for item in messages if isinstance(item, dict)]))
        if self.operation == "responses":
            azure.judge(responses.last_of_user(responses.items_of(request.get("input"))))
        return request | {"model": unquote(self._deployment)} if self._deployment else request

    def stream(self, request: dict[str, Any]) -> bool:
        """As at OpenAI."""
        return bool(request.get("stream"))

    def frames(self, plain: Iterator[bytes]) -> Iterator[bytes]:
        """With the marks of the filter."""
        return plain if self.operation == "responses" else azure.frames(plain)

    def error(self, refused: Refused) -> tuple[Headers, bytes] | None:
        """As at OpenAI, with codes of its own."""
        return [], error_body(refused.status, refused.message, param=refused.param, code=refused.code)


class AtBedrock:
    """Converse and InvokeModel, signed."""

    def __init__(self, raw_path: bytes, model: str, verb: str, keys: Mapping[str, str]) -> None:
        self.operation = "invoke" if verb == "invoke" else "converse"
        self._raw_path = raw_path
        self._model = model
        self._streams = verb == "converse-stream"
        self._keys = keys

    def check(self, query: bytes, headers: Mapping[bytes, bytes], body: bytes) -> None:
        """The signature."""
        aws_signature.check(self._raw_path, query, headers, body, self._keys, datetime.now(UTC))

    def request(self, request: dict[str, Any]) -> dict[str, Any]:
        """The path names the model; what InvokeModel takes is the model's own."""
        if self.operation == "converse":
            bedrock.check(request, self._model)
        elif "model" in request:
            raise Refused(400, "Malformed input request: #: extraneous key [model] is not permitted.")
        return {"model": self._model}

    def stream(self, request: dict[str, Any]) -> bool:
        """The path says it."""
        del request
        return self._streams

    def frames(self, plain: Iterator[bytes]) -> Iterator[bytes]:
        """As they are."""
        return plain

    def error(self, refused: Refused) -> tuple[Headers, bytes] | None:
        """Named by a header."""
        return bedrock.error(refused)


class AtVertex:
    """Gemini's or Claude's wire behind an access token."""

    def __init__(self, found: re.Match[str], accounts: vertex.Accounts) -> None:
        self._claude = unquote(found["claude"] or "")
        self._model = self._claude or unquote(found["gemini"])
        self._streams = (found["raw"] or found["verb"]).startswith("stream")
        self._accounts = accounts
        # Embeddings are asked for by verbs of their own.
        verb = found["verb"] if found["verb"] in {"predict", "embedContent"} else "contents"
        self.operation = "messages" if self._claude else verb

    def check(self, query: bytes, headers: Mapping[bytes, bytes], body: bytes) -> None:
        """The token."""
        del body
        self._accounts.check(headers)
        if self._streams and not self._claude and query != b"alt=sse":
            raise Refused(400, "The simulator streams with alt=sse only.")

    def request(self, request: dict[str, Any]) -> dict[str, Any]:
        """The path names the model; of Claude's wire the body says the version."""
        if self._claude:
            vertex.check_claude(request)
            if bool(request.get("stream")) != self._streams:
                raise Refused(400, "stream: the path and the body do not agree")
        elif self.operation != "contents" and "model" in request:
            raise Refused(400, 'Invalid JSON payload received. Unknown name "model": Cannot find field.')
        return {} if self.operation == "contents" else {"model": self._model}

    def stream(self, request: dict[str, Any]) -> bool:
        """The path says it."""
        del request
        return self._streams

    def frames(self, plain: Iterator[bytes]) -> Iterator[bytes]:
        """As they are."""
        return plain

    def error(self, refused: Refused) -> tuple[Headers, bytes] | None:
        """As on Gemini's or Claude's own wire; who has no token hears it from Google."""
        google = refused.status == 401 or self.operation in {"predict", "embedContent"}
        return ([], gemini.error_body(refused.status, refused.message)) if google else None


class Clouds:
    """What the clouds of one simulator know: keys that are made at its start, and given to who asks for them."""

    def __init__(self) -> None:
        self.accounts = vertex.Accounts()
        self.application = azure.Application()
        self._key = f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30)

    def find(self, path: str, raw_path: bytes) -> Cloud | None:
        """Returns the cloud that a path belongs to."""
        if (found := azure.PATH.fullmatch(path)) is not None:
            return AtAzure(found["deployment"] or "", azure.OPERATIONS[found["path"]], self.application)
        if (found := bedrock.PATH.fullmatch(path)) is not None:
            return AtBedrock(raw_path, found["model"], found["verb"], dict([self._key]))
        called = vertex.PATH.fullmatch(path)
        return AtVertex(called, self.accounts) if called is not None else None

    def aside(self, method: str, path: str, body: bytes, origin: str) -> tuple[int, bytes] | None:
        """Returns status and body of what is no model: keys for tests, and the token servers of Vertex and Azure."""
        if (method, path) == ("GET", "/bedrock/_key"):
            return 200, ":".join(self._key).encode()
        if (method, path) == ("GET", "/vertex/_account"):
            return 200, json.dumps(self.accounts.file(origin)).encode()
        if (method, path) == ("GET", "/azure/_application"):
            return 200, json.dumps(self.application.known(origin)).encode()
        if method == "POST" and (tenant := azure.TOKEN.fullmatch(path)) is not None:
            status, value = self.application.token(tenant["tenant"], body)
            return status, json.dumps(value).encode()
        if (method, path) == ("POST", "/vertex/token"):
            status, value = self.accounts.token(body, origin)
            return status, json.dumps(value).encode()
        return None
