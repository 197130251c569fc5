"""Holds on an organization's wallet. A hold is a record of its own, so nothing leaks when a process dies.

| state    | edge settles                 | billing books the final event        | expiry                     |
|----------|------------------------------|--------------------------------------|----------------------------|
| held     | settled, difference returned | settled with the charge, deleted     | released, amount returned  |
| settled  | nothing (alert if it differs)| corrected by the difference, deleted | stays; billing must book it|
| released | nothing                      | the charge is taken, deleted         | the tombstone is forgotten |
| missing  | nothing                      | the charge is taken                  | –                          |

A record may name budgets, which move as the wallet does; see `scripts/budgets.lua`.

Each try of a request has a hold of its own. A second one, on another router, takes over what the first holds: whatever
becomes known of the first later finds that missing, and the second stays held until its own final event.

Keys of an organization share the tag `{organization}`: `{o}:wallet` (string), `{o}:holds` (hash of records) and
`{o}:booked` (hash: partition of the usage log → last batch applied). Amounts are integers in pico-units; a wallet is at
most int64 either way and stays there where it would go beyond, see `scripts/budgets.lua`.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Final, cast

from tollgate_holds.limits import LimitSet
from tollgate_holds.outcomes import Balance, Booking, BookState, HoldInfo, HoldResult, Operation, Swept
from tollgate_holds.pipe import CLUSTER, UNUSABLE_SECONDS, RedisError, RedisPipe, RedisUnusable, pack_command

_SCRIPTS: Final = ("admit", "book", "expire", "balance")
_MAX_PICO: Final = 2**63 - 1
# What `balance.lua` adds amounts up in: a number of Lua is exact to 2^53.
_PART: Final = 10**9
_SCAN_COUNT: Final = 500


_STATES: Final = {b"h": "held", b"s": "settled", b"r": "released"}
# What a script replies, by its number: cheaper than asking the enumeration.
_RESULTS: Final = {int(result): result for result in HoldResult}
_HOLDING: Final = frozenset(
    {Operation.HOLD, Operation.HOLD_POSTPAID, Operation.HOLD_AGAIN, Operation.HOLD_AGAIN_POSTPAID}
)
# Those whose reply says which limit refused.
_REFUSED: Final = frozenset({int(HoldResult.LIMITED), int(HoldResult.OVER_BUDGET)})


class Holds:
    """Money operations over one Redis connection. Raises RedisUnavailable while there is none."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0, unusable_seconds: float = UNUSABLE_SECONDS) -> None:
        folder = resources.files("tollgate_holds") / "scripts"
        before = (folder / "budgets.lua").read_bytes()
        self._sources = {name: before + (folder / f"{name}.lua").read_bytes() for name in _SCRIPTS}
        self._shas = {
            name: hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
            for name, source in self._sources.items()
        }
        self._keys: dict[str, tuple[bytes, bytes, bytes]] = {}
        self.pipe = RedisPipe(
            url, prepare=self._prepare, timeout_seconds=timeout_seconds, unusable_seconds=unusable_seconds
        )

    async def start(self) -> None:
        """Begins to connect; `ready` tells when operations can be sent."""
        self.pipe.start()

    async def close(self) -> None:
        """Drops the connection."""
        await self.pipe.close()

    @property
    def ready(self) -> bool:
        return self.pipe.ready

    @property
    def away(self) -> str:
        """Says that operations cannot be sent, and why where the server is at fault; empty while they can."""
        if self.ready:
            return ""
        return f"Redis cannot be used: {self.pipe.problem}" if self.pipe.problem else "Redis is not connected"

    async def wait_ready(self, seconds: float) -> bool:
        """Waits until operations can be sent; returns False when `seconds` ran out first."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.pipe.connected.wait(), seconds)
        return self.pipe.ready

    def pack(self, organization: str, ttl_seconds: int, operations: Sequence[bytes | str | int]) -> bytes:
        """Returns the packed admission call; `operations` is flat: operation, id and amount of each."""
        wallet, holds, _ = self._keys_of(organization)
        return pack_command(
            (b"EVALSHA", self._shas["admit"], 2, wallet, holds, ttl_seconds, len(operations) // 3, *operations)
        )

    def pack_limited(
        self,
        organization: str,
        ttl_seconds: int,
        slot_seconds: int,
        operations: Sequence[bytes | str | int],
        limited: Sequence[bytes | str | int],
        sets: Sequence[LimitSet],
        gates: Sequence[int],
    ) -> bytes:
        """Returns the packed admission call of `operations` followed by `limited` ones, both flat as for `pack`.

        `gates` has three numbers for each limited one: its index in `sets`, tokens, second; see `admit.lua`.
        """
        keys, arguments = self._limited(organization, ttl_seconds, slot_seconds, operations, limited, sets, gates)
        return pack_command((b"EVALSHA", self._shas["admit"], len(keys), *keys, *arguments))

    async def admit_limited(
        self,
        operation: Operation,
        hold_id: str,
        amount_pico: int,
        limits: LimitSet,
        *,
        ttl_seconds: int,
        slot_seconds: int,
        tokens: int = 0,
        second: int = 0,
    ) -> list[int]:
        """Does one operation within limits; returns what the script replies to it, one number unless it is a hold.

        `tokens` are counted, or correct what a hold counted in `second`.
        """
        limited = (operation.value, hold_id, checked(amount_pico))
        keys, arguments = self._limited(
            limits.organization, ttl_seconds, slot_seconds, (), limited, (limits,), (0, tokens, second)
        )
        reply = await self._run("admit", keys, *arguments)
        if operation in _HOLDING:
            verdicts = verdicts_of(reply, 0, [len(limits.scopes)])
            if verdicts is not None:
                return verdicts[0]
        elif (results := results_of(reply, 1)) is not None:
            return [int(results[0])]
        raise _unexpected(reply)

    def _limited(
        self,
        organization: str,
        ttl_seconds: int,
        slot_seconds: int,
        operations: Sequence[bytes | str | int],
        limited: Sequence[bytes | str | int],
        sets: Sequence[LimitSet],
        gates: Sequence[int],
    ) -> tuple[list[bytes], list[bytes | str | int]]:
        """Returns the keys and arguments of an admission call that ends with limited operations."""
        wallet, holds, _ = self._keys_of(organization)
        first = len(operations) // 3
        arguments: list[bytes | str | int] = [ttl_seconds, first + len(limited) // 3, *operations, *limited]
        arguments += (first, slot_seconds, len(sets))
        for one in sets:
            arguments += one.arguments
        arguments += gates
        return [wallet, holds, *(key for one in sets for key in one.keys)], arguments

    async def hold(
        self, organization: str, hold_id: str, amount_pico: int, ttl_seconds: int, *, prepaid: bool = True
    ) -> HoldResult:
        """Reserves `amount_pico`, or repeats an earlier reservation of the same id.

        Prepaid, it is refused where the wallet does not cover it.
        """
        operation = Operation.HOLD if prepaid else Operation.HOLD_POSTPAID
        return await self._admit(organization, operation, hold_id, amount_pico, ttl_seconds)

    async def settle(self, organization: str, hold_id: str, cost_pico: int) -> HoldResult:
        """Takes `cost_pico` in place of what was held and returns the difference."""
        return await self._admit(organization, Operation.SETTLE, hold_id, cost_pico, 0)

    async def release(self, organization: str, hold_id: str) -> HoldResult:
        """Returns the amount and forgets the hold; only for work that never began."""
        return await self._admit(organization, Operation.FORGET, hold_id, 0, 0)

    async def renew(self, organization: str, hold_id: str, ttl_seconds: int) -> HoldResult:
        """Moves the expiry to `ttl_seconds` from now."""
        return await self._admit(organization, Operation.RENEW, hold_id, 0, ttl_seconds)

    async def book(
        self,
        organization: str,
        partition: str,
        batch: str,
        effects: Sequence[tuple[str, int]],
        credit_pico: int = 0,
    ) -> Booking:
        """Applies (hold id, charge) of one batch and a credit, once per (partition, batch).

        Batches of a partition come in order, so only the last one's name is kept. Where they are called
        `partition/low-high`, one that ends no later was applied by another process meanwhile, and is not applied
        again. Call it after the ledger has the batch; on NO_WALLET call `rebuild` with the ledger's balance.
        """
        wallet, holds, booked = self._keys_of(organization)
        charges = [charge for _, charge in effects] or [0]
        checked(min(charges))
        checked(max(charges))
        flat: list[str | int] = [part for effect in effects for part in effect]
        reply = await self._run(
            "book", (wallet, holds, booked), partition, batch, str(checked(credit_pico)), len(effects), *flat
        )
        state, corrected = _numbers(reply, 2)
        if state is None or state not in list(BookState):
            raise _unexpected(reply)
        return Booking(BookState(state), corrected or 0)

    async def booked(self, organization: str, partition: str) -> str:
        """Returns the name of the last batch of a partition that `book` applied; empty when there is none."""
        _, _, booked = self._keys_of(organization)
        found = await self.pipe.call("HGET", booked, partition)
        return found.decode() if isinstance(found, bytes) else ""

    async def rebuild(self, organization: str, ledger_pico: int) -> tuple[int, bool]:
        """Sets the wallet to ledger - held - settled; returns it and whether it was another before.

        What is beyond int64 becomes the nearest to it. Right only between batches: every batch in the ledger has been
        booked here.
        """
        wallet, holds, _ = self._keys_of(organization)
        reply = await self._run("balance", (wallet, holds), *divmod(ledger_pico, _PART))
        _, _, _, expected, changed = _numbers(reply, 5)
        if expected is None:
            raise _unexpected(reply)
        return expected, bool(changed)

    async def balance(self, organization: str) -> Balance:
        """Returns the wallet and the sums of what is held and settled but not booked."""
        wallet, holds, _ = self._keys_of(organization)
        reply = await self._run("balance", (wallet, holds))
        found, held, settled, _, _ = _numbers(reply, 5)
        return Balance(found, held or 0, settled or 0)

    async def left(self, organization: str) -> int | None:
        """Returns what the wallet has that nothing holds, None without a wallet. It may be gone a moment later."""
        wallet, _, _ = self._keys_of(organization)
        found = await self.pipe.call("GET", wallet)
        return int(found) if isinstance(found, bytes) else None

    async def record(self, organization: str, hold_id: str) -> HoldInfo | None:
        """Returns a hold as it is now, or None when there is none."""
        _, holds, _ = self._keys_of(organization)
        found = await self.pipe.call("HGET", holds, hold_id)
        return _info(hold_id, found) if isinstance(found, bytes) else None

    async def records(self, organization: str) -> list[HoldInfo]:
        """Returns every hold of an organization, in any order; one that changes meanwhile may be old or missing."""
        _, holds, _ = self._keys_of(organization)
        cursor, found = b"0", dict[bytes, bytes]()
        while True:
            page = cast("tuple[bytes, list[bytes]]", await self.pipe.call("HSCAN", holds, cursor, "COUNT", _SCAN_COUNT))
            cursor, flat = page[0], page[1]
            found.update(zip(flat[::2], flat[1::2], strict=True))
            if cursor == b"0":
                return [_info(key.decode(), record) for key, record in found.items()]

    async def sweep(self, organization: str, *, tombstone_seconds: int, overdue_seconds: int) -> Swept:
        """Releases expired holds, forgets old tombstones and names settled holds older than `overdue_seconds`."""
        wallet, holds, _ = self._keys_of(organization)
        now = int(cast("list[bytes]", await self.pipe.call("TIME"))[0])
        cursor, released, forgotten, overdue = b"0", 0, 0, list[str]()
        while True:
            page = cast("tuple[bytes, list[bytes]]", await self.pipe.call("HSCAN", holds, cursor, "COUNT", _SCAN_COUNT))
            cursor, flat = page[0], page[1]
            due: list[bytes] = []
            for key, record in zip(flat[::2], flat[1::2], strict=True):
                at = int(record.split(b":", 2)[1])
                if record[:1] in b"hHrR" and at < now:
                    due.append(key)
                elif record[:1] in b"sS" and at + overdue_seconds < now:
                    overdue.append(key.decode())
            if due:
                done = cast("list[int]", await self._run("expire", (wallet, holds), tombstone_seconds, *due))
                released, forgotten = released + done[0], forgotten + done[1]
            if cursor == b"0":
                return Swept(released, forgotten, tuple(overdue))

    async def _admit(
        self, organization: str, operation: Operation, hold_id: str, amount: int, ttl_seconds: int
    ) -> HoldResult:
        wallet, holds, _ = self._keys_of(organization)
        reply = await self._run("admit", (wallet, holds), ttl_seconds, 1, operation.value, hold_id, checked(amount))
        results = results_of(reply, 1)
        if results is None:
            raise _unexpected(reply)
        return results[0]

    async def _run(self, script: str, keys: Sequence[bytes], *arguments: str | bytes | int) -> object:
        command = (b"EVALSHA", self._shas[script], len(keys), *keys, *arguments)
        try:
            return await self.pipe.call(*command)
        except RedisError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        await self._load(self.pipe)
        return await self.pipe.call(*command)

    def _keys_of(self, organization: str) -> tuple[bytes, bytes, bytes]:
        keys = self._keys.get(organization)
        if keys is None:
            tag = b"{" + organization.encode() + b"}"
            keys = (tag + b":wallet", tag + b":holds", tag + b":booked")
            if len(self._keys) > 100_000:
                self._keys.clear()
            self._keys[organization] = keys
        return keys

    async def reload(self) -> None:
        """Loads the scripts again, for a server that has forgotten them."""
        await self._load(self.pipe)

    async def _prepare(self, pipe: RedisPipe) -> None:
        await self._load(pipe)
        await _check_alone(pipe)
        try:
            reply = await pipe.call_unready("CONFIG", "GET", "maxmemory-policy")
        except RedisError:
            return  # Managed servers forbid CONFIG; their operator answers for the policy.
        if isinstance(reply, list) and len(reply) > 1 and reply[1] != b"noeviction":
            raise RedisUnusable(f"it may evict keys (maxmemory-policy {reply[1]!r}); money needs `noeviction`")

    async def _load(self, pipe: RedisPipe) -> None:
        for source in self._sources.values():
            await pipe.call_unready("SCRIPT", "LOAD", source)


async def _check_alone(pipe: RedisPipe) -> None:
    """Raises RedisUnusable for a server that has not all keys, since others of a cluster have them."""
    try:
        reply = await pipe.call_unready("INFO", "cluster")
        if not isinstance(reply, bytes) or b"cluster_enabled:1" not in reply:
            return
        reply = await pipe.call_unready("CLUSTER", "INFO")
    except RedisError:
        return  # Managed servers forbid them; a redirection tells it later.
    found = reply.split() if isinstance(reply, bytes) else []
    if b"cluster_state:ok" not in found or b"cluster_size:1" not in found:
        raise RedisUnusable(CLUSTER)


def _info(hold_id: str, record: bytes) -> HoldInfo:
    """Reads a record: its state, a time, names of budgets perhaps, an amount. Raises RedisError for any other bytes."""
    state, _, rest = record.partition(b":")
    second, _, amount = rest.partition(b":")
    names, _, digits = amount.rpartition(b":")
    try:
        # "key:ID@WINDOW,project:ID@WINDOW", of a record that has budgets.
        scopes = [name.partition("@")[0].split(":") for name in names.decode().split(",") if name]
        budgets = tuple((kind, scope_id) for kind, scope_id in scopes)
        return HoldInfo(hold_id, _STATES[state.lower()], int(second), int(digits or b"0"), budgets)
    except (KeyError, ValueError):
        raise _unexpected(record) from None


def results_of(reply: object, count: int) -> list[HoldResult] | None:
    """Returns what the admission script replied to `count` operations; None when it cannot be its reply."""
    if not isinstance(reply, list) or len(reply) != count:
        return None
    try:
        return [_RESULTS[code] for code in reply]
    except (KeyError, TypeError):
        return None


def verdicts_of(reply: object, first: int, scopes: Sequence[int]) -> list[list[int]] | None:
    """Returns what the script replied to limited holds, each with so many scopes; None when it cannot be its reply.

    They stand from `first` on; `admit.lua` says what the numbers of each are.
    """
    if not isinstance(reply, list) or len(reply) != first + len(scopes):
        return None
    verdicts = reply[first:]
    return verdicts if all(map(_is_verdict, verdicts, scopes)) else None


def _is_verdict(verdict: object, scopes: int) -> bool:
    if not isinstance(verdict, list) or len(verdict) not in {9, 13} or set(map(type, verdict)) != {int}:
        return False
    refused = verdict[0] in _REFUSED
    if verdict[0] not in _RESULTS or refused != (len(verdict) == 13):
        return False
    return 0 <= verdict[2] <= scopes and 0 <= verdict[5] <= scopes and (not refused or 0 < verdict[10] <= scopes)


def _numbers(reply: object, count: int) -> list[int | None]:
    """Returns the integers of a script's reply, None for an empty string. Raises RedisError for any other reply."""
    if not isinstance(reply, list) or len(reply) != count:
        raise _unexpected(reply)
    try:
        return [None if one == b"" else int(one) for one in reply]
    except (TypeError, ValueError):
        raise _unexpected(reply) from None


def _unexpected(reply: object) -> RedisError:
    return RedisError(f"a script replied what it cannot: {reply!r:.100}")


def checked(amount_pico: int) -> int:
    """Returns the amount; raises ValueError when it is negative or beyond what Redis counts exactly."""
    if not 0 <= amount_pico <= _MAX_PICO:
        raise ValueError(f"an amount must be between 0 and {_MAX_PICO} pico-units, found {amount_pico}")
    return amount_pico


def flatten(operations: Iterable[tuple[Operation, str, int]]) -> list[bytes | str | int]:
    """Returns operations in the flat form that `Holds.pack` takes."""
    flat: list[bytes | str | int] = []
    for operation, hold_id, amount in operations:
        flat += (operation.value, hold_id, checked(amount))
    return flat
