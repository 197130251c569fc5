"""Access tokens of accounts at clouds: which one holds, when the next is asked for, and who waits for it. No I/O."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import quote_plus

import msgspec

from tollgate_router.domain.service_account import ServiceAccount, parse_account
from tollgate_router.domain.signing import Body
from tollgate_router.domain.target import Origin, Target
from tollgate_router.domain.upstream_errors import scrub

# A token is renewed so long before its end, or at half of its life where that is shorter.
_AHEAD_US: Final = 300_000_000
_FIRST_PAUSE_US: Final = 1_000_000
_LAST_PAUSE_US: Final = 60_000_000
_MOST_SECONDS: Final = 86_400
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
_HEADERS: Final = (
    b"content-type: application/x-www-form-urlencoded\r\naccept: application/json\r\naccept-encoding: identity\r\n"
    b"user-agent: tollgate\r\n"
)


class Account(Protocol):
    """Who asks for tokens: a service account, or an application of Entra."""

    @property
    def vendor(self) -> str:
        """Whose token server it is."""
        ...

    @property
    def hidden(self) -> str:
        """What of the form must not be shown, also when a token server repeats it; may be empty."""
        ...

    def form(self, now_us: int) -> bytes:
        """Returns the body that asks for a token; `now_us` is microseconds since the epoch."""
        ...


class Token(msgspec.Struct, frozen=True):
    """What a token server gave."""

    access_token: str
    expires_in: int


class _Reply(msgspec.Struct):
    access_token: str = ""
    expires_in: float = 0
    error: str = ""
    error_description: str = ""


_REPLY: Final = msgspec.json.Decoder(_Reply, strict=False)


def read_token(status: int, body: bytes, hidden: str = "") -> Token | str:
    """Returns the token that a reply gives, or why it gives none, in words for operators and without `hidden`."""
    try:
        found = _REPLY.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return f"the token server answers {status} with something that is no JSON"
    if status != 200 or found.error:
        words = f"{found.error} {found.error_description}".strip()
        for form in (hidden, quote_plus(hidden)):
            words = words.replace(form, "***") if form else words
        said = scrub(words)
        return f"the token server answers {status}{f': {said}' if said else ''}"
    if not _TOKEN.fullmatch(found.access_token) or not 0 < found.expires_in <= _MOST_SECONDS:
        return "the token server's answer holds no token, or none that lasts"
    return Token(found.access_token, int(found.expires_in))


class TokenSource:
    """The Signer of one account: its token stands in a header. Times are microseconds since the epoch."""

    def __init__(self, account: Account, target: Target, wake: "Callable[[TokenSource], None]") -> None:
        self.account = account
        self.target = target
        """The token server."""
        self.asking = False
        self.due_us = 0
        """When to ask next, unless that is under way."""
        self._wake = wake
        self._line = b""
        self._ends_us = 0
        self._pause_us = _FIRST_PAUSE_US
        self._waiting: dict[object, Callable[[str], None]] = {}

    def proof(self, method: bytes, authority: str, path: bytes, body: Body, now_us: int) -> bytes | None:
        """Returns the header line; None while no token holds."""
        del method, authority, path, body
        return self._line if now_us < self._ends_us else None

    def wait(self, then: Callable[[str], None]) -> Callable[[], None]:
        """Has a token asked for at once, and calls `then` when it has come or not. Returns what gives up waiting."""
        mark = object()
        self._waiting[mark] = then
        self.due_us = 0
        self._wake(self)
        return lambda: self._give_up(mark)

    def rejected(self) -> None:
        """The provider does not take this token: the next request waits for another."""
        self._line, self._ends_us, self.due_us = b"", 0, 0
        self._wake(self)

    def holds(self, now_us: int) -> bool:
        """Tells whether there is a token to go on with."""
        return now_us < self._ends_us

    def settle(self, found: Token | str, now_us: int) -> None:
        """Takes what came of asking: a token, or why there is none."""
        self.asking = False
        problem = ""
        if isinstance(found, Token):
            life_us = found.expires_in * 1_000_000
            self._line = f"authorization: Bearer {found.access_token}\r\n".encode()
            self._ends_us = now_us + life_us
            self.due_us = self._ends_us - min(_AHEAD_US, life_us // 2)
            self._pause_us = _FIRST_PAUSE_US
        else:
            problem = found
            self.due_us = now_us + self._pause_us
            self._pause_us = min(2 * self._pause_us, _LAST_PAUSE_US)
        waiting, self._waiting = self._waiting, {}
        for then in waiting.values():
            then(problem)

    def _give_up(self, mark: object) -> None:
        self._waiting.pop(mark, None)


@dataclass(slots=True)
class Tokens:
    """The sources of all accounts in use, kept across versions of the configuration.

    `load_key` is as of `parse_account`; `wake` is called with one that is due before its time.
    """

    load_key: Callable[[str], Callable[[bytes], bytes]]
    wake: Callable[[TokenSource], None] = lambda _: None
    sources: dict[tuple[str, Origin], TokenSource] = field(default_factory=dict)
    _accounts: dict[tuple[str, bool], ServiceAccount] = field(default_factory=dict)

    def account(self, identity: str, text: str, *, private_network: bool) -> ServiceAccount:
        """Returns the account of a key file, told apart by the hash `identity`. Raises InvalidAccount.

        It is read once: the checks of an RSA key take tens of milliseconds.
        """
        key = identity, private_network
        if key not in self._accounts:
            self._accounts[key] = parse_account(text, self.load_key, private_network=private_network)
        return self._accounts[key]

    def source(self, identity: str, account: Account, origin: Origin, path: str) -> TokenSource:
        """Returns the source for an account at a token server; `identity` is a hash of all that tells it apart."""
        found = self.sources.get((identity, origin))
        if found is None:
            target = Target(
                "token server", 0, account.vendor, origin, path, "", conforming=False, weight=1, header_block=_HEADERS
            )
            found = TokenSource(account, target, self._wake)
            self.sources[identity, origin] = found
        return found

    def _wake(self, source: TokenSource) -> None:
        # Looked up when it happens: who is woken may be known later than the first source.
        self.wake(source)

    def retain(self, used: Collection[TokenSource]) -> None:
        """Forgets the sources that no channel uses any more."""
        self.sources = {key: source for key, source in self.sources.items() if source in used}
        names = {identity for identity, _ in self.sources}
        self._accounts = {key: account for key, account in self._accounts.items() if key[0] in names}
