"""`tollgate doctor client`: goes the way of a client, and says where it ends and how to mend it."""

import difflib
import ipaddress
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from tollgate_cli.clients import find_client, origin_of
from tollgate_cli.commands.doctor import FAILED, MARKS, OK, SKIPPED, WARNING, Finding
from tollgate_cli.errors import UNREACHABLE, Failure
from tollgate_cli.output import print_json
from tollgate_cli.supervisor.watch import favourite

_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 10.0
_PROMPT: Final = [{"role": "user", "content": "tollgate doctor says hello"}]
_VERSION: Final = re.compile(r"/v\d+(?:alpha|beta)?/?$")
_BROWSER: Final = {
    "origin": "https://app.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type",
}
_UNBUFFER: Final = (
    "A proxy between holds the stream back until it is whole. nginx: `proxy_buffering off;` and no gzip for "
    "text/event-stream; others: switch off buffering and compression of answers for this host."
)
_REDIRECTED: Final = "Enter that address: many clients send a POST as a GET after a redirect, or without the key."


def run_doctor_client(typed: str, key: str, model: str, name: str, *, requests: bool, as_json: bool) -> None:
    """Prints all findings. Raises Failure: 2 for an unknown client, 3 when nobody answers, 1 when a check failed."""
    client = find_client(name) if name else None
    findings = []
    timeout = httpx.Timeout(_SECONDS, connect=_CONNECT_SECONDS)
    with httpx.Client(timeout=timeout, follow_redirects=False) as http:
        for finding in ClientDoctor(http, typed, key, model, client, requests=requests).findings():
            findings.append(finding)
            if not as_json:
                print(f"{MARKS[finding.state]} {finding.check:<10} {finding.found}")
                if finding.advice and finding.state in {WARNING, FAILED}:
                    print(f"  {'':<10} {finding.advice}")
    failed = [finding.check for finding in findings if finding.state == FAILED]
    if as_json:
        print_json({"ok": not failed, "base_url": typed, "checks": [asdict(finding) for finding in findings]})
    if failed:
        code = UNREACHABLE if "reachable" in failed else 1
        raise Failure("" if as_json else f"Wrong: {', '.join(failed)}.", code=code)


class ClientDoctor:
    """Checks one client's base URL, key and model, in the order in which a request needs them."""

    def __init__(
        self,
        http: httpx.Client,
        typed: str,
        key: str,
        model: str,
        client: Mapping[str, Any] | None,
        *,
        requests: bool,
    ) -> None:
        self._http, self._typed, self._model, self._client = http, typed.strip(), model, client
        self._requests = requests
        self._key = key
        self._headers = {"authorization": f"Bearer {key}"} if key.isascii() and key.isprintable() and key else {}
        self._origin = self._base = ""
        self._report: dict[str, Any] = {}

    def findings(self) -> Iterator[Finding]:
        """Yields what each check found; ends early where what follows would only repeat it."""
        base = self.base_url()
        yield base
        if not self._origin:
            return
        reachable = self.reachable()
        yield reachable
        if reachable.state == FAILED:
            return
        yield self.path()
        told = [self._told(name) for name in ("key", "model", "balance")]
        yield from told
        usable = all(finding.state != FAILED for finding in told)
        yield self.chat() if usable else _skipped("chat", "what is wrong above comes first")
        yield self.stream() if usable else _skipped("stream", "what is wrong above comes first")
        yield self.proxy()
        yield self.cors()

    def base_url(self) -> Finding:
        """The address is one, and is what this client wants."""
        try:
            self._origin = origin_of(self._typed)
        except Failure as failure:
            return Finding("base url", FAILED, failure.message, failure.advice)
        return next(self._base_problems(), Finding("base url", OK, self._typed))

    def _base_problems(self) -> Iterator[Finding]:
        """Yields what is wrong with the address as it was typed, the worst first."""
        path, wanted = urlsplit(self._with_scheme()).path.rstrip("#"), self._wanted()
        advice, client = f"Enter {wanted}.", self._client
        if client is not None and client.get("public") and _is_private(self._origin):
            found = f"{client['name']} calls from its maker's servers, which never reach {self._origin}"
            yield Finding("base url", FAILED, found, "The gateway needs a public address with TLS.")
        if re.search(r"/v\d+\w*/v\d+\w*", path):
            yield Finding("base url", FAILED, f"{self._typed} holds the version twice", advice)
        if re.search(r"/(chat/completions|completions|responses|messages|embeddings)/?$", path):
            yield Finding("base url", FAILED, f"{self._typed} holds the whole path", advice)
        if self._adds_twice(path):
            found = f"this client adds /v1 itself, and so calls {self._typed.rstrip('/')}/v1/…"
            yield Finding("base url", FAILED, found, advice)
        if path.endswith("/"):
            yield Finding("base url", WARNING, f"{self._typed} ends in a slash, which some clients double", advice)
        if self._origin.startswith("http://") and not _is_private(self._origin):
            yield Finding("base url", WARNING, f"{self._typed} sends the key in clear", "Use https.")
        if client is not None and self._typed != wanted and not client.get("tolerant"):
            yield Finding("base url", WARNING, f"{self._typed} works here, but {wanted} is usual", advice)

    def reachable(self) -> Finding:
        """The gateway answers at the address, and no redirect or other page does."""
        try:
            reply = self._get("/v1/connection", params={"model": self._model} if self._model else None)
        except httpx.TransportError as error:
            return Finding("reachable", FAILED, *_why_unreachable(self._origin, error))
        found = _json(reply)
        if reply.status_code == 200 and found.get("object") == "connection_test":
            self._report = found
            return Finding("reachable", OK, f"{found['gateway']} {found['version']} answers at {self._origin}")
        return Finding("reachable", FAILED, *_why_not_ours(self._origin, reply))

    def path(self) -> Finding:
        """What the client appends leads to a route. If not, what follows goes the way that is right."""
        base, self._base = self._called(), f"{self._origin}/v1"
        try:
            reply = self._http.get(f"{base}/models", headers=self._headers)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            return Finding("path", FAILED, f"{base}/models: {error}", f"Enter {self._wanted()}.")
        if reply.status_code == 404:
            message = _json(reply).get("error", {}).get("message", f"{base}/models answers 404")
            return Finding("path", FAILED, str(message), f"Enter {self._wanted()}.")
        if 300 <= reply.status_code < 400:
            return Finding("path", FAILED, f"{base}/models redirects to {reply.headers.get('location')}", _REDIRECTED)
        self._base = base
        return Finding("path", OK, f"{base}/… is served")

    def chat(self) -> Finding:
        """A chat completion works."""
        model = self._model_to_ask()
        if not self._requests or not model:
            return _skipped("chat", "no requests are to be sent" if model else "no model can be used")
        body = {"model": model, "messages": _PROMPT, "max_tokens": 16}
        try:
            reply = self._http.post(f"{self._base}/chat/completions", json=body, headers=self._headers)
        except httpx.TransportError as error:
            return Finding("chat", FAILED, f"the answer did not come: {error}", "Look for a time limit of a proxy.")
        found = _json(reply)
        if reply.status_code != 200 or found.get("object") != "chat.completion":
            return Finding("chat", FAILED, *_why_refused(reply))
        return Finding("chat", OK, f"{model} answers")

    def stream(self) -> Finding:
        """A streamed chat completion arrives as a stream, to its end."""
        model = self._model_to_ask()
        if not self._requests or not model:
            return _skipped("stream", "no requests are to be sent" if model else "no model can be used")
        body = {"model": model, "messages": _PROMPT, "max_tokens": 16, "stream": True}
        try:
            reply = self._http.post(f"{self._base}/chat/completions", json=body, headers=self._headers)
        except httpx.TransportError as error:
            return Finding("stream", FAILED, f"it broke off: {error}", "Look for a time limit of a proxy.")
        if reply.status_code != 200:
            return Finding("stream", FAILED, *_why_refused(reply))
        kind = reply.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            return Finding("stream", FAILED, f"it comes as {kind or 'no type'}", "A proxy changes it; let it through.")
        data = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
        if not data or data[-1] != "[DONE]" or any(not line for line in data):
            return Finding("stream", FAILED, "it has no end", "A proxy cuts it off: raise its time limit.")
        return Finding("stream", OK, f"{model} answers in {len(data) - 1} chunks")

    def proxy(self) -> Finding:
        """What is sent in pieces arrives in pieces."""
        try:
            # A pause of the machine looks the same once, but not twice.
            for _ in range(2):
                sent_ms, arrived_ms, encoding = self._pieces()
                if arrived_ms * 2 >= sent_ms:
                    break
        except (httpx.TransportError, ValueError) as error:
            return Finding("proxy", FAILED, f"the test stream is broken: {error}", _UNBUFFER)
        if arrived_ms * 2 < sent_ms:
            found = f"pieces that were sent over {sent_ms} ms arrived within {arrived_ms} ms"
            return Finding("proxy", FAILED, found, _UNBUFFER)
        if encoding:
            return Finding("proxy", WARNING, f"streams come compressed ({encoding})", _UNBUFFER)
        return Finding("proxy", OK, f"pieces sent over {sent_ms} ms arrived over {arrived_ms} ms")

    def _pieces(self) -> tuple[int, int, str]:
        """Returns the time over which pieces were sent, that over which they came (ms), and how they were encoded."""
        sent: list[int] = []
        arrived: list[float] = []
        headers = {**self._headers, "accept": "text/event-stream"}
        with self._http.stream("GET", f"{self._origin}/v1/connection/stream", headers=headers) as reply:
            if reply.status_code != 200:
                raise ValueError(f"it answers {reply.status_code}")
            ended = False
            for line in reply.iter_lines():
                if line == "data: [DONE]":
                    ended = True
                elif line.startswith("data: "):
                    sent.append(int(json.loads(line[6:])["sent_ms"]))
                    arrived.append(time.monotonic())
            if not ended or len(sent) < 2:
                raise ValueError("it has no end")
            encoding = reply.headers.get("content-encoding", "")
        return sent[-1] - sent[0], round((arrived[-1] - arrived[0]) * 1000), encoding

    def cors(self) -> Finding:
        """A page in a browser may call, and may read errors."""
        concerned = self._client is None or bool(self._client.get("browser"))
        try:
            asked = self._http.options(f"{self._base}/chat/completions", headers=_BROWSER)
            error = self._http.get(f"{self._origin}/v1/models", headers={"origin": _BROWSER["origin"]})
        except httpx.TransportError as failure:
            return Finding("cors", WARNING, f"it cannot be asked: {failure}")
        problem = _cors_problem(asked, error)
        if problem is None:
            return Finding("cors", OK, "pages in a browser may call")
        advice = "Only clients in a browser are concerned. " if self._client is None else ""
        advice += "Let the proxy pass OPTIONS on and add no Access-Control headers of its own: the gateway sends them."
        return Finding("cors", FAILED if concerned and self._client is not None else WARNING, problem, advice)

    # Where the client calls, and what it asks for.

    def _wanted(self) -> str:
        base = self._client["base"] if self._client is not None else "v1"
        return f"{self._origin}/v1" if base == "v1" else self._origin

    def _adds_twice(self, path: str) -> bool:
        if self._client is None or self._client["base"] != "origin" or self._client.get("tolerant"):
            return False
        return bool(_VERSION.search(path))

    def _called(self) -> str:
        """Returns what the client puts its paths behind."""
        base = self._with_scheme().rstrip("#").rstrip("/")
        adds = self._client is not None and self._client["base"] == "origin" and not self._client.get("tolerant")
        return f"{base}/v1" if adds else base

    def _with_scheme(self) -> str:
        return self._typed if "://" in self._typed else f"https://{self._typed}"

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> httpx.Response:
        return self._http.get(f"{self._origin}{path}", params=params, headers=self._headers)

    def _told(self, check: str) -> Finding:
        """Returns what the gateway says of the key, the model or the balance."""
        if check == "key" and self._key.strip() != self._key:
            return Finding("key", FAILED, "it has blanks around it", "Paste it without.")
        found = next((one for one in self._report.get("checks", ()) if one.get("check") == check), None)
        if found is None:
            return _skipped(check, "the gateway does not say")
        advice = str(found.get("advice", ""))
        if check == "model" and found["state"] == FAILED and (near := self._near()):
            advice = f"Did you mean {' or '.join(near)}? {advice}"
        if found.get("link"):
            advice = f"{advice} {found['link']}".strip()
        return Finding(check, str(found["state"]), str(found["found"]), advice)

    def _models(self) -> list[str]:
        reply = self._get("/v1/models")
        return [str(item["id"]) for item in _json(reply).get("data", []) if isinstance(item, dict) and "id" in item]

    def _near(self) -> list[str]:
        return difflib.get_close_matches(self._model, self._models(), 2)

    def _model_to_ask(self) -> str:
        if self._model:
            return self._model
        models = self._models()
        return favourite(models) if models else ""


def _skipped(check: str, why: str) -> Finding:
    return Finding(check, SKIPPED, why)


def _is_private(origin: str) -> bool:
    host = urlsplit(origin).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal", ".lan"))


def _why_unreachable(origin: str, error: httpx.TransportError) -> tuple[str, str]:
    words = str(error)
    other = origin.replace("https://", "http://") if origin.startswith("https") else origin.replace("http", "https", 1)
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return f"the certificate of {origin} is not trusted", "Use one of a known authority, with its whole chain."
    if re.search(r"WRONG_VERSION_NUMBER|RECORD_LAYER|record layer", words, re.IGNORECASE):
        return f"{origin} does not speak https", f"Enter {other}."
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return f"{origin} closes the connection", f"It may want https: try {other}."
    if isinstance(error, httpx.TimeoutException):
        return f"{origin} does not answer", "A firewall may drop what is sent there; check address and port."
    if re.search(r"resolve|Name or service|nodename|getaddrinfo", words, re.IGNORECASE):
        return f"no host is called {urlsplit(origin).hostname}", "Check the spelling, and the DNS of this machine."
    return f"nobody listens at {origin}: {words}", "Check address and port, and that the gateway runs."


def _why_not_ours(origin: str, reply: httpx.Response) -> tuple[str, str]:
    status, where = reply.status_code, reply.headers.get("location", "")
    if 300 <= status < 400:
        return f"{origin} redirects to {where}", _REDIRECTED
    if "HTTPS port" in reply.text[:2000]:
        return f"{origin} wants https", f"Enter {origin.replace('http://', 'https://')}."
    if status in {502, 503, 504}:
        return (
            f"a proxy answers {status}: it does not reach the gateway",
            "Look at the proxy, and whether the gateway runs.",
        )
    if status in {401, 403}:
        return f"something before the gateway answers {status}", "Let clients pass it without its own login."
    if reply.headers.get("content-type", "").startswith("text/html"):
        return f"{origin} shows a web page, not this gateway", "Check the address; behind a proxy, its path too."
    return (
        f"{origin} answers {status}, and not as this gateway does",
        "Check the address; behind a proxy, its path too.",
    )


def _why_refused(reply: httpx.Response) -> tuple[str, str]:
    error = _json(reply).get("error")
    if not isinstance(error, dict):
        return f"the answer is {reply.status_code} and not in OpenAI's shape", "A proxy answers in the gateway's place."
    return f"{error.get('message')}", f"{error.get('doc_url') or ''}"


def _cors_problem(asked: httpx.Response, error: httpx.Response) -> str | None:
    if not 200 <= asked.status_code < 300:
        return f"the preflight request is answered with {asked.status_code}"
    for what, reply in (("the preflight", asked), ("an error", error)):
        origins = reply.headers.get_list("access-control-allow-origin")
        if len(origins) > 1:
            return f"{what} has Access-Control-Allow-Origin {len(origins)} times, which browsers refuse"
        if not origins or origins[0] not in {"*", _BROWSER["origin"]}:
            return f"{what} does not allow other origins"
    allowed = asked.headers.get("access-control-allow-headers", "").lower()
    # The star does not cover this one.
    return None if "authorization" in allowed else "the header Authorization is not allowed"


def _json(reply: httpx.Response) -> dict[str, Any]:
    try:
        found = reply.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
