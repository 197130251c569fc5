"""Edge's HTTP without inference on fakes, and what its errors look like."""

import contextlib
import random
from types import SimpleNamespace

import httpx
from services.edge.tests.fakes.services import FakeBilling, FakeMedia, FakeMending, FakeMoney, FakeRouters
from services.edge.tests.fakes.stores import FakeKeyStore, FakeLimitStore, FakeTenantStore, Memory

from tollgate_edge.api.context import HttpContext
from tollgate_edge.api.http import create_http_app
from tollgate_edge.api.links import LinkSigner
from tollgate_edge.api.reading import BodyReader
from tollgate_edge.domain.keys import TOKEN_PREFIX, keyed_hash, new_key, pepper_of
from tollgate_edge.inference.admission import Admission
from tollgate_edge.inference.controls import Controls
from tollgate_edge.inference.marks import Marks
from tollgate_edge.ports import EdgeModel, EdgeVersion
from tollgate_edge.use_cases.authenticate import KeyAuthenticator
from tollgate_edge.use_cases.create_key import CreateKey
from tollgate_edge.use_cases.create_tenant import CreateTenant
from tollgate_edge.use_cases.give_credit import GiveCredit
from tollgate_edge.use_cases.import_keys import ImportKeys
from tollgate_edge.use_cases.look_up_keys import KeyLookups
from tollgate_holds.holds import Holds
from tollgate_kit.clock import ManualClock
from tollgate_kit.ids import CountingIds
from tollgate_kit.tracing import NoTracing
from tollgate_rating import PriceTable

PEPPER = pepper_of(b"p" * 32)
REMEMBERED = {"max_keys": 100, "max_unknown": 100, "unchecked_seconds": float("inf")}
MODELS = {
    "default": {
        "gpt": EdgeModel("gpt", "chat", "openai", 7),
        "vendor/pic": EdgeModel("vendor/pic", "image", "openai", 0),
        "mine": EdgeModel("mine", "", "me", 0),
    }
}
OPENAI_ERROR = {"message", "type", "param", "code", "doc_url"}


class World:
    """An app on fakes, with one key and one operator's token."""


def advancing(clock):
    """Returns a sleep that takes no time but on this clock."""

    async def sleep(seconds):
        clock.advance(seconds)

    return sleep


def _admission(begun, lost):
    """Returns what says what Redis says; `begun` is told of each budget that begins, `lost` of missing wallets."""
    return Admission(
        Holds("redis://127.0.0.1:1/0"),
        hold_ttl_seconds=60,
        pause_seconds=0,
        on_no_wallet=lost.append,
        on_new_budget=lambda *about: begun.append(about),
    )


@contextlib.asynccontextmanager
async def http_world(*, billing=None, reports=None):
    """Yields the app with a client that talks to it; what is handed in takes the place of fakes."""
    made = World()
    made.clock, made.memory = ManualClock(), Memory()
    made.keys, made.tenants = FakeKeyStore(made.memory), FakeTenantStore(made.memory)
    made.billing, made.media, made.routers = billing or FakeBilling(), FakeMedia(), FakeRouters()
    made.ledger, made.mending = FakeMoney(), FakeMending()
    made.budgets, made.version = Controls(), EdgeVersion("sha256:x", 1, PriceTable([]), MODELS)
    made.missing, made.notes, made.refused, made.begun, made.lost, made.spool = [], [], [], [], [], (0, "")
    made.numbers, randoms = iter(range(1, 1000)), iter(range(1, 1000))

    def random_bytes(count):
        return next(randoms).to_bytes(count, "big")

    lookups = KeyLookups(made.keys, pause_seconds=0)
    made.authenticator = KeyAuthenticator(lookups, [PEPPER], made.clock, **REMEMBERED)
    ids = CountingIds()
    create_key = CreateKey(made.keys, PEPPER, made.clock, ids, random_bytes)
    made.app = create_http_app(
        HttpContext(
            marks=Marks(PEPPER.value, 1).of,
            authenticator=made.authenticator,
            version=SimpleNamespace(current=lambda: made.version),
            keys=made.keys,
            tenants=made.tenants,
            limits=FakeLimitStore(made.memory),
            create_key=create_key,
            import_keys=ImportKeys(made.keys, made.tenants, [PEPPER], made.clock, ids),
            create_tenant=CreateTenant(made.tenants, made.clock, ids),
            give_credit=GiveCredit(made.billing, ids),
            billing=made.billing,
            ledger=made.ledger,
            reports=reports or made.ledger,
            dead_letters=made.ledger,
            mending=made.mending,
            payments=made.ledger,
            controls=made.ledger,
            media=made.media,
            routers=made.routers,
            links=LinkSigner(PEPPER.value, made.clock, 60),
            evidence_links=LinkSigner(PEPPER.value, made.clock, 60, "evidence"),
            bodies=BodyReader(10_000, 16),
            clock=made.clock,
            tracing=NoTracing(),
            random=random.Random(1),
            missing=lambda: made.missing,
            notes=lambda: made.notes,
            state=lambda: "ready",
            new_request_id=lambda: f"req_{next(made.numbers)}",
            refused=lambda *about: made.refused.append(about),
            spool=lambda: made.spool,
            placed=_admission(made.begun, made.lost).placed_elsewhere,
            turned=lambda principal, model, usable: made.budgets.decide(principal, model, 1, usable),
            sleep=advancing(made.clock),
        )
    )
    project = await made.tenants.ensure_project("org_1", "demo", "USD", "proj_1", "default", 1)
    record, key = await create_key(project, "first")
    made.key_id, made.key = record.id, key.reveal()
    token = new_key(TOKEN_PREFIX, random_bytes)
    await made.keys.add_token("pat_1", "t", "abcd", keyed_hash(token.reveal().encode(), PEPPER), PEPPER.id, 1)
    other = await made.tenants.ensure_project("org_2", "other", "USD", "proj_2", "default", 1)
    made.other_key = (await create_key(other, "second"))[1].reveal()
    made.create_key, made.project = create_key, project
    made.bearer = {"authorization": f"Bearer {made.key}"}
    made.operator = {"authorization": f"Bearer {token.reveal()}"}
    transport = httpx.ASGITransport(made.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge.test") as client:
        made.client = client
        yield made


def check_error(reply, status, code, param=None):
    assert reply.status_code == status, reply.text
    assert reply.headers["x-request-id"].startswith("req_")
    body = reply.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == OPENAI_ERROR
    assert body["error"]["message"]
    assert body["error"]["code"] == code
    assert body["error"]["param"] == param
