"""`tollgate doctor`: checks the product from the outside in, and says what to mend."""

import email.utils
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from tollgate_cli.api import Api, refusal
from tollgate_cli.commands.channels import why_held_back
from tollgate_cli.errors import Failure
from tollgate_cli.home import Home
from tollgate_cli.output import print_json
from tollgate_cli.probe import ping_redis
from tollgate_cli.supervisor.watch import favourite
from tollgate_cli.target import Target, find_target

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
MARKS = {OK: "✓", WARNING: "!", FAILED: "✗", SKIPPED: "-"}
LEAST_FREE_BYTES = 1 << 30
CLOCK_SECONDS = 5.0
USAGE_SECONDS = 15.0
PROMPT = [{"role": "user", "content": "tollgate doctor says hello"}]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, and what to do when it is not as it should be."""

    check: str
    state: str
    found: str
    advice: str = ""


def run_doctor(home: Path | None, environment: Mapping[str, str], *, as_json: bool, requests: bool) -> None:
    """Prints all findings. Raises Failure: code 3 when nobody answers, 1 when a check failed."""
    target = find_target(home, environment)
    with Api(target) as api:
        findings = []
        for finding in Doctor(target, api, requests=requests).findings():
            findings.append(finding)
            if not as_json:
                print(f"{MARKS[finding.state]} {finding.check:<12} {finding.found}")
                if finding.advice and finding.state in {WARNING, FAILED}:
                    print(f"  {'':<12} {finding.advice}")
    failed = [finding.check for finding in findings if finding.state == FAILED]
    if as_json:
        print_json({"ok": not failed, "url": target.url, "checks": [asdict(finding) for finding in findings]})
    if failed:
        raise Failure("" if as_json else f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}.")


class Doctor:
    """Runs the checks, each of which assumes nothing of the others but what it says."""

    def __init__(self, target: Target, api: Api, *, requests: bool) -> None:
        self._target = target
        self._api = api
        self._requests = requests
        self._models: list[str] = []

    def findings(self) -> list[Finding]:
        """Returns what all checks found. Raises Failure with code 3 when nobody answers at all."""
        before = self._requests_so_far()
        checks: list[Callable[[], Finding]] = [self.reachable, self.ready, self.clock, self.token]
        if self._target.ready is not None:
            checks += [self.processes, self.valkey, self.disk]
        checks += [self.channels, self.models, self.balance]
        if self._requests:
            checks += [self.chat, self.stream, self.embeddings, lambda: self.usage(before)]
        return [check() for check in checks]

    def reachable(self) -> Finding:
        """Somebody answers at the address."""
        reply = self._api.send("GET", "/healthz")
        good = reply.status_code == 200
        return Finding("reachable", OK if good else FAILED, f"{self._target.url} answers {reply.status_code}")

    def ready(self) -> Finding:
        """The product can serve."""
        reply = self._api.send("GET", "/readyz")
        if reply.status_code == 200:
            return Finding("ready", OK, "the product can serve")
        missing = _json(reply).get("missing") or [f"/readyz answers {reply.status_code}"]
        return Finding("ready", FAILED, "; ".join(map(str, missing)), "Look into the logs of what is missing.")

    def clock(self) -> Finding:
        """Both clocks agree."""
        sent = email.utils.parsedate_to_datetime(self._api.send("GET", "/healthz").headers.get("date", "") or _EPOCH)
        apart = abs(time.time() - sent.timestamp())
        if sent.timestamp() == 0:
            return Finding("clock", SKIPPED, "the product does not say what time it is")
        state = OK if apart <= CLOCK_SECONDS else WARNING
        return Finding("clock", state, f"the product's clock is {apart:.0f} s from this one", "Synchronize the clocks.")

    def token(self) -> Finding:
        """The access token is taken."""
        reply = self._api.send("GET", "/api/v1/keys")
        if reply.status_code == 200:
            return Finding("token", OK, "the access token is valid")
        return Finding("token", FAILED, refusal(reply), "Use the admin_key of the ready file, or mend TOLLGATE_TOKEN.")

    def processes(self) -> Finding:
        """All processes of the ready file run."""
        listed: Mapping[str, list[int]] = (self._target.ready or {})["processes"]
        dead = [name for name, pids in listed.items() if not pids or not all(map(_runs, pids))]
        if dead:
            advice = "It is started again by itself; look into its log when that goes on."
            return Finding("processes", FAILED, f"not running: {', '.join(dead)}", advice)
        return Finding("processes", OK, f"{sum(map(len, listed.values()))} run: {', '.join(listed)}")

    def valkey(self) -> Finding:
        """The bundled Valkey answers."""
        ready = self._target.ready or {}
        if not ready["processes"].get("valkey"):
            return Finding("valkey", SKIPPED, "none was started; another Redis is configured")
        try:
            good = ping_redis(Home(Path(ready["home"])).socket("valkey"))
        except OSError as error:
            return Finding("valkey", FAILED, f"it does not answer: {error.strerror}", "Look into logs/valkey.log.")
        return Finding("valkey", OK if good else WARNING, "it answers" if good else "it still loads its data")

    def disk(self) -> Finding:
        """There is room for state."""
        free = shutil.disk_usage((self._target.ready or {})["home"]).free
        state = OK if free >= LEAST_FREE_BYTES else WARNING
        return Finding("disk", state, f"{free / (1 << 30):.1f} GiB free", "Make room: usage events need it.")

    def models(self) -> Finding:
        """There is a model to ask."""
        reply = self._ask("GET", "/v1/models")
        if reply is None:
            return self._no_key("models")
        if reply.status_code != 200:
            return Finding("models", FAILED, refusal(reply), "Make a key with `tollgate keys create`.")
        self._models = [str(item["id"]) for item in _json(reply).get("data", [])]
        if not self._models:
            advice = "Declare a channel, or set a provider's key in the environment and start again."
            return Finding("models", FAILED, "no model can be used", advice)
        return Finding("models", OK, f"{len(self._models)} can be used")

    def channels(self) -> Finding:
        """No channel is held back."""
        reply = self._api.send("GET", "/api/v1/router")
        if reply.status_code == 403:
            return Finding("channels", SKIPPED, "only an operator may look at them")
        routers = _json(reply).get("routers")
        if reply.status_code != 200 or not isinstance(routers, list):
            return Finding("channels", FAILED, refusal(reply), "Look into the log of edge.")
        listed = [channel for router in routers for channel in router.get("channels", ())]
        held = {channel["channel"]: why for channel in listed if (why := why_held_back(channel))}
        names = {channel["channel"] for channel in listed}
        if held:
            shown = "; ".join(f"{name}: {why}" for name, why in held.items())
            state = FAILED if not any(channel["usable"] for channel in listed) else WARNING
            return Finding("channels", state, shown, "`tollgate channels list` shows them all.")
        return Finding("channels", OK, f"{len(names)} can be used")

    def balance(self) -> Finding:
        """There is money."""
        reply = self._api.send("GET", "/api/v1/balance")
        if reply.status_code == 404:
            return Finding("balance", SKIPPED, "there is no organization yet")
        if reply.status_code != 200:
            return Finding("balance", FAILED, refusal(reply), "Look into the log of billing.")
        return Finding("balance", OK, _balance_text(_json(reply)))

    def chat(self) -> Finding:
        """A chat completion works."""
        return self._answer("chat", "/v1/chat/completions", {"messages": PROMPT, "max_tokens": 16}, _said)

    def stream(self) -> Finding:
        """A streamed chat completion works, to its end."""
        body = {"messages": PROMPT, "max_tokens": 16, "stream": True}
        return self._answer("stream", "/v1/chat/completions", body, _streamed)

    def embeddings(self) -> Finding:
        """An embedding works, if there is a model for it."""
        model = next((name for name in self._models if "embed" in name), None)
        if model is None:
            return Finding("embeddings", SKIPPED, "no embedding model can be used")
        return self._answer("embeddings", "/v1/embeddings", {"model": model, "input": "hello"}, _embedded)

    def usage(self, before: int | None) -> Finding:
        """The requests of these checks arrive in the usage store."""
        if before is None or not self._models:
            return Finding("usage", SKIPPED, "it cannot be asked for")
        deadline = time.monotonic() + USAGE_SECONDS
        while time.monotonic() < deadline:
            now = self._requests_so_far()
            if now is not None and now > before:
                return Finding("usage", OK, f"{now} requests are recorded, {now - before} of them new")
            time.sleep(0.2)
        return Finding("usage", FAILED, "what was just used has not arrived", "Look into the log of billing.")

    def _answer(self, check: str, path: str, body: dict[str, Any], read: Callable[[httpx.Response], str]) -> Finding:
        if not self._models:
            return Finding(check, SKIPPED, "no model can be used")
        body = {"model": favourite(self._models), **body}
        reply = self._ask("POST", path, json=body)
        if reply is None:
            return self._no_key(check)
        if reply.status_code != 200:
            return Finding(check, FAILED, f"{body['model']}: {refusal(reply)}", "The router's log tells why.")
        try:
            return Finding(check, OK, f"{body['model']} answers: {read(reply)}")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            return Finding(
                check, FAILED, f"{body['model']}: the answer is broken: {error!r}", "The router's log tells why."
            )

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        if not self._target.api_key:
            return None
        return self._api.send(method, path, headers={"authorization": f"Bearer {self._target.api_key}"}, **more)

    def _no_key(self, check: str) -> Finding:
        return Finding(check, SKIPPED, "no API key to ask with; set TOLLGATE_API_KEY (with TOLLGATE_URL)")

    def _requests_so_far(self) -> int | None:
        reply = self._api.send("GET", "/api/v1/usage", params={"group_by": "model"})
        count = _json(reply).get("requests") if reply.status_code == 200 else None
        return count if isinstance(count, int) else None


_EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"


def _json(reply: httpx.Response) -> dict[str, Any]:
    try:
        value = reply.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _said(reply: httpx.Response) -> str:
    return repr(reply.json()["choices"][0]["message"]["content"])


def _streamed(reply: httpx.Response) -> str:
    data = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    if not data or data.pop() != "[DONE]":
        raise ValueError("the stream has no end")
    chunks = [json.loads(item) for item in data]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    return f"{text!r} in {len(chunks)} chunks"


def _embedded(reply: httpx.Response) -> str:
    return f"a vector of {len(reply.json()['data'][0]['embedding'])}"


def _balance_text(body: dict[str, Any]) -> str:
    currency = body.get("currency", "")
    return ", ".join(f"{name} {body[name]} {currency}" for name in ("ledger", "wallet", "held") if body.get(name))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
