"""The product's HTTP API, as far as the commands need it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from tollgate_cli.errors import UNREACHABLE, Failure
from tollgate_cli.target import Target

TIMEOUT_SECONDS = 30.0


class Api:
    """Calls one product. Every call raises Failure: code 3 when nobody answers, 1 when the answer is a refusal."""

    def __init__(
        self,
        target: Target,
        transport: httpx.BaseTransport | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        headers = {"authorization": f"Bearer {target.token}", "accept": "application/json"}
        self._url = target.url
        self._http = httpx.Client(
            base_url=target.url, headers=headers, timeout=timeout_seconds, transport=transport, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, query: Mapping[str, str] | None = None, *, seconds: float = TIMEOUT_SECONDS) -> Any:
        """Returns the decoded body of a GET, which may take so long."""
        return _decoded(self.send("GET", path, params=dict(query or {}), timeout=seconds))

    def post(
        self,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = TIMEOUT_SECONDS,
    ) -> Any:
        """Returns the decoded body of a POST, which may take so long."""
        content = {} if body is None else body
        return _decoded(self.send("POST", path, json=content, headers=dict(headers or {}), timeout=seconds))

    def post_file(self, path: str, content: bytes, query: Mapping[str, str], *, seconds: float) -> Any:
        """Returns the decoded body of a POST of a file, which may take so long."""
        return _decoded(self.send("POST", path, content=content, params=dict(query), timeout=seconds))

    def lines(self, path: str, body: object, *, seconds: float) -> Iterator[dict[str, Any]]:
        """Yields each line of JSON that a POST is answered with, of which the next may take so long."""
        try:
            with self._http.stream("POST", path, json=body, timeout=seconds) as reply:
                if reply.status_code >= 400:
                    reply.read()
                    _decoded(reply)
                for line in reply.iter_lines():
                    found = json.loads(line)
                    if "error" in found:
                        raise Failure(f"It broke off: {found['error']['message']}", details=found["error"])
                    yield found
        except (httpx.HTTPError, ValueError) as error:
            raise Failure(
                f"{self._url} broke off: {error or type(error).__name__}.",
                code=UNREACHABLE,
                advice="Run it again: what was done stays done, and nothing is done twice.",
            ) from error

    def patch(self, path: str, body: object) -> Any:
        """Returns the decoded body of a PATCH."""
        return _decoded(self.send("PATCH", path, json=body))

    def put(self, path: str, body: object) -> Any:
        """Returns the decoded body of a PUT."""
        return _decoded(self.send("PUT", path, json=body))

    def delete(self, path: str) -> Any:
        """Returns the decoded body of a DELETE."""
        return _decoded(self.send("DELETE", path))

    def items(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """Yields all items of a list, page by page."""
        cursor = ""
        while True:
            page = self.get(path, {**(query or {}), **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            cursor = page.get("next") or ""
            if not cursor:
                return

    def download(self, path: str, query: Mapping[str, str], file: Path) -> int:
        """Writes the body of a GET to a file and returns its size. Raises OSError for a file that cannot be written."""
        try:
            with self._http.stream("GET", path, params=dict(query)) as reply:
                if reply.status_code >= 400:
                    reply.read()
                    _decoded(reply)
                with file.open("wb") as out:
                    for piece in reply.iter_bytes():
                        out.write(piece)
                    return out.tell()
        except httpx.HTTPError as error:
            raise Failure(
                f"The download broke off: {error or type(error).__name__}.",
                code=UNREACHABLE,
                advice="Try again; what was written of it has been removed.",
            ) from error

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Returns the reply to a request, whatever its status."""
        try:
            return self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise Failure(
                f"{self._url} does not answer: {error or type(error).__name__}.",
                code=UNREACHABLE,
                advice="Start the product with `tollgate up`, or mend TOLLGATE_URL.",
            ) from error


def refusal(reply: httpx.Response) -> str:
    """Returns what a refused request was told."""
    try:
        body = reply.json()
    except ValueError:
        return f"the answer was {reply.status_code} and no JSON"
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict) and error.get("message"):
        code = f" ({error['code']})" if error.get("code") else ""
        return f"{error['message']}{code}"
    return f"the answer was {reply.status_code}"


def _decoded(reply: httpx.Response) -> Any:
    if reply.status_code >= 400:
        details = {"status": reply.status_code, "request_id": reply.headers.get("x-request-id")}
        raise Failure(refusal(reply), details=details)
    try:
        return reply.json()
    except ValueError as error:
        raise Failure(
            "The answer is no JSON: is this address a Tollgate?", code=UNREACHABLE, advice="Mend TOLLGATE_URL."
        ) from error
