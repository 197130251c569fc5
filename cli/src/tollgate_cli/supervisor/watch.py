"""Finds out when the product can serve, and what it is still missing meanwhile."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from tollgate_cli.home import Home, read_json
from tollgate_cli.probe import get_json, ping_redis
from tollgate_cli.supervisor.spec import Spec

PAUSE_SECONDS = 0.05
STARTING_SECONDS = 180.0
# How long the other processes may take after edge can serve before the product is announced without them.
PATIENCE_SECONDS = 20.0
FAVOURITES = ("gpt-5-mini", "gpt-5.1", "deepseek-chat", "claude-haiku-4-5", "gemini-2.5-flash", "qwen-plus")
NOT_CHAT = ("embed", "image", "whisper", "tts", "audio", "dall-e")


class Watch:
    """Asks every process for its readiness, in a thread of its own that ends when all of them are ready.

    `say` gets a line for each process that became ready. `keys` and `model` are there when it has succeeded.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        home: Home,
        port: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._specs = specs
        self._home = home
        self._public = f"127.0.0.1:{port}"
        self._say = say
        self._clock = clock
        self._began = clock()
        self._served_at: float | None = None
        self._stop = threading.Event()
        self.missing: dict[str, str] = {spec.name: "it has not answered yet" for spec in specs}
        self.finished = False
        self.succeeded = False
        self.api_key: str | None = None
        self.admin_key = ""
        self.model = FAVOURITES[0]

    def begin(self, wake: Callable[[], None]) -> None:
        """Starts the thread."""
        threading.Thread(target=self._look, args=(wake,), name="watch", daemon=True).start()

    def end(self) -> None:
        """Ends the thread soon."""
        self._stop.set()

    def _look(self, wake: Callable[[], None]) -> None:
        while not self._stop.is_set():
            if self.turn():
                self.finished = True
                if not self._stop.is_set():
                    wake()
                return
            self._stop.wait(PAUSE_SECONDS)

    def turn(self) -> bool:
        """Asks everybody once; True when there is nothing more to wait for."""
        now = self._clock()
        for spec in self._specs:
            if spec.name in self.missing:
                self._ask(spec)
        if self._served_at is None and self._serves():
            self._served_at = now
        if self._served_at is not None:
            late = self.missing or self._behind()
            if not late or now - self._served_at > PATIENCE_SECONDS:
                for name, reason in late.items():
                    self._say(f"{name} is not ready yet: {reason}")
                self.succeeded = True
                return True
        return now - self._began > STARTING_SECONDS

    def _ask(self, spec: Spec) -> None:
        reason = readiness(spec.address)
        if reason is None:
            del self.missing[spec.name]
            self._say(f"{spec.name} is ready after {self._clock() - self._began:.1f} s")
        else:
            self.missing[spec.name] = reason

    def _behind(self) -> dict[str, str]:
        """Returns who still works with the configuration of an earlier run, since edge has applied what is declared."""
        found = {spec.name: config_digest(spec.address) for spec in self._specs}
        current = {found[spec.name] for spec in self._specs if spec.service == "edge"} - {None}
        if not current:
            return {}
        reason = "it has not taken the current configuration"
        return {name: reason for name, digest in found.items() if digest is not None and current != {digest}}

    def _serves(self) -> bool:
        """Tells whether a request would be answered on the public port, and reads what it needs for that."""
        if any(spec.name in self.missing for spec in self._specs if spec.service == "edge"):
            return False
        with contextlib.suppress(OSError):
            status, _ = get_json(self._public, "/readyz")
            first = read_json(self._home.bootstrap)
            if status != 200 or first is None:
                return False
            self.api_key, self.admin_key = first.get("api_key"), first.get("admin_key", "")
            if self.api_key is None:
                return True
            status, models = get_json(self._public, "/v1/models", (f"Authorization: Bearer {self.api_key}",))
            if status == 200 and models and models.get("data"):
                self.model = favourite([str(item["id"]) for item in models["data"]])
                return True
        return False


def favourite(names: Sequence[str]) -> str:
    """Returns the model for a first try: a small one that everybody knows, else the first that chats."""
    known = [name for name in FAVOURITES if name in names]
    chats = [name for name in names if not any(word in name for word in NOT_CHAT)]
    return (known or chats or list(names))[0]


def config_digest(address: str) -> str | None:
    """Returns the configuration version that the process at this address works with; None where it does not say."""
    if not address or address.startswith(("redis:", "simulator:")):
        return None
    with contextlib.suppress(OSError):
        body = get_json(address, "/readyz")[1]
        if isinstance(body, dict) and isinstance(body.get("config_digest"), str):
            return str(body["config_digest"])
    return None


def readiness(address: str) -> str | None:
    """Returns what keeps the process at this address from serving, or None."""
    kind, _, rest = address.partition(":")
    try:
        if kind == "redis":
            return None if ping_redis(rest) else "it loads its data"
        if kind == "simulator":
            return None if get_json(rest, "/_health")[0] == 200 else "it does not answer as it should"
        if not address:
            return None
        status, body = get_json(address, "/readyz")
    except OSError:
        return "it does not answer yet"
    if status == 200:
        return None
    missing = body.get("missing") if isinstance(body, dict) else None
    return "; ".join(str(item) for item in missing) if missing else f"it answers {status}"
