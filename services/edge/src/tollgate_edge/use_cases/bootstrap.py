"""The first start: an operator's token, and, unless declined, an organization with credit and a key to try."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate_edge.domain.keys import KEY_PREFIX, TOKEN_PREFIX, Pepper, Secret, keyed_hash, last_four, new_key
from tollgate_edge.ports import BillingPort, KeyStore, Project, TenantStore
from tollgate_edge.use_cases.create_key import CreateKey
from tollgate_kit.clock import Clock
from tollgate_kit.ids import Ids

SEEDED: Final = "bootstrap"
ORGANIZATION: Final = "demo"
PROJECT: Final = "default"
CURRENCY: Final = "USD"
_PICO: Final = 10**12


@dataclass(frozen=True, slots=True)
class FirstKeys:
    """What is left for the operator. `api_key` is None without a demo."""

    admin_key: Secret
    api_key: Secret | None


class FirstKeysFile(Protocol):
    def read(self) -> FirstKeys | None:
        """What an earlier start left; None when there is nothing. Raises OSError, or ValueError when it is broken."""
        ...

    def write(self, keys: FirstKeys) -> None:
        """Leaves the keys, readable by their owner only. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Bootstrap:
    tenants: TenantStore
    keys: KeyStore
    create_key: CreateKey
    billing: BillingPort
    file: FirstKeysFile
    pepper: Pepper
    clock: Clock
    ids: Ids
    random_bytes: Callable[[int], bytes]
    demo: bool
    credit_usd: int

    async def __call__(self) -> None:
        """Does what is missing; may be repeated until it succeeds. Raises StoreUnavailable, PublicError, OSError."""
        # The file comes first: a key that is stored but was never shown would be of no use.
        keys = self._first_keys()
        await self._store_token(keys.admin_key)
        if self.demo and keys.api_key is not None:
            project = await self.tenants.ensure_project(
                self.ids.new("org"), ORGANIZATION, CURRENCY, self.ids.new("proj"), PROJECT, self.clock.now_us()
            )
            await self._store_key(project, keys.api_key)
            await self._grant(project.organization_id)
        await self.tenants.set_done(SEEDED, self.clock.now_us())

    def _first_keys(self) -> FirstKeys:
        keys = self.file.read()
        if keys is None:
            keys = FirstKeys(new_key(TOKEN_PREFIX, self.random_bytes), None)
        elif not self.demo or keys.api_key is not None:
            return keys
        if self.demo:
            keys = FirstKeys(keys.admin_key, new_key(KEY_PREFIX, self.random_bytes))
        self.file.write(keys)
        return keys

    async def _store_token(self, token: Secret) -> None:
        key_hash = keyed_hash(token.reveal().encode(), self.pepper)
        if not (await self.keys.find_keys([key_hash]))[0]:
            await self.keys.add_token(
                self.ids.new("pat"), "bootstrap", last_four(token), key_hash, self.pepper.id, self.clock.now_us()
            )

    async def _store_key(self, project: Project, key: Secret) -> None:
        if not (await self.keys.find_keys([keyed_hash(key.reveal().encode(), self.pepper)]))[0]:
            await self.create_key.store_key(project, "first key", key)

    async def _grant(self, organization_id: str) -> None:
        mark = f"grant:{organization_id}"
        if self.credit_usd and not await self.tenants.is_done(mark):
            # Billing credits once per idempotency key, so an answer that was lost does no harm.
            await self.billing.grant(
                billing.GrantRequest(
                    organization_id=organization_id,
                    currency=CURRENCY,
                    amount_pico=self.credit_usd * _PICO,
                    idempotency_key=f"bootstrap:{organization_id}",
                    reason="first start",
                )
            )
            await self.tenants.set_done(mark, self.clock.now_us())
