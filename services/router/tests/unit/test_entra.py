"""Azure behind Microsoft Entra ID: what asks for a token, what is sent with it, what operators hear without one."""

import asyncio
from urllib.parse import parse_qs

import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.tokens import FakeTokenServer

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_kit.clock import ManualClock
from tollgate_resources import Channel, Declared, compile_version, load_catalogue, parse_version
from tollgate_router.adapters.credentials import EnvironmentCredentials
from tollgate_router.adapters.rsa_key import load_rsa_key
from tollgate_router.domain.health.policy import HealthPolicy
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.snapshot import compile_snapshot
from tollgate_router.domain.tokens import Token, Tokens, read_token
from tollgate_router.domain.upstream_errors import Bench
from tollgate_router.use_cases.refresh_tokens import RefreshTokens

pytestmark = pytest.mark.unit
TENANT, CLIENT = "7d8f2c1a-0000-4000-8000-000000000001", "7d8f2c1a-0000-4000-8000-000000000002"
SECRET = "abc8Q~s3cr3t+&=.x"
ENTRA = {"tenant": {"env": "TENANT"}, "client": {"env": "CLIENT"}}


class Stage:
    """A channel at Azure with its renewal, on a clock that the test moves."""

    def __init__(self, secrets=None, ports=None, **fields):
        self.clock = ManualClock()
        self.server = FakeTokenServer()
        self.tokens = Tokens(load_rsa_key)
        self.renewal = RefreshTokens(self.server, self.tokens, self.clock)
        self.health = Health(HealthPolicy())
        self.use(secrets, ports, **fields)

    def use(self, secrets=None, ports=None, **fields):
        """Puts a configuration in force."""
        base = {
            "name": "a", "provider": "azure", "base_url": "https://r.openai.azure.example", "models": ["gpt-5-mini"],
            "credentials": [{"env": "SECRET"}], "cloud": {"entra": ENTRA},
        }  # fmt: skip
        declared = Declared(channels=(Channel.model_validate(base | fields),))
        document = parse_version(compile_version(declared, load_catalogue()))
        found = {"TENANT": TENANT, "CLIENT": CLIENT, "SECRET": SECRET, "OTHER": "another"} | (secrets or {})
        resolved = EnvironmentCredentials(found)
        self.snapshot = compile_snapshot(document, "d", resolved, self.health, 0, self.tokens, ports)
        self.renewal.follow(self.snapshot)

    def targets(self):
        """Returns the targets of the model, one for each secret."""
        return self.snapshot.route("default", "gpt-5-mini").base.levels[0].targets

    async def renew(self, answer):
        """Lets whatever is due be asked for, and answers."""
        due = self.renewal.due()
        tasks = [asyncio.ensure_future(self.renewal.refresh(source)) for source in due]
        for _ in tasks:
            self.server.answers.put_nowait(answer)
        await asyncio.gather(*tasks)
        return len(tasks)

    def proof(self, place=0):
        """Returns what a request would carry now."""
        return self.targets()[place].signer.proof(b"POST", "h", b"/", b"", self.clock.now_us())


async def test_a_token_is_asked_for_by_the_applications_secret_and_sent_instead_of_a_key():
    stage = Stage()
    assert stage.proof() is None
    assert await stage.renew(Token("eyJ.one", 3599)) == 1
    target, form = stage.server.asked[0]
    assert (target.origin.authority, target.full_path(b"")) == (
        "login.microsoftonline.com", f"/{TENANT}/oauth2/v2.0/token".encode(),
    )  # fmt: skip
    assert {name: value for name, (value,) in parse_qs(form.decode()).items()} == {
        "grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET,
        "scope": "https://cognitiveservices.azure.com/.default",
    }  # fmt: skip
    assert stage.server.hidden == SECRET
    assert stage.proof() == b"authorization: Bearer eyJ.one\r\n"
    (one,) = stage.targets()
    assert b"api-key" not in one.header_block
    assert SECRET not in repr(one) + repr(one.signer.account)


async def test_a_token_is_renewed_ahead_of_its_end_by_one_request_at_a_time():
    stage = Stage()
    await stage.renew(Token("one", 3599))
    stage.clock.advance(3599 - 301)
    assert stage.renewal.due() == []
    stage.clock.advance(2)
    (source,) = stage.renewal.due()
    assert stage.renewal.due() == [], "one is under way"
    assert stage.proof() == b"authorization: Bearer one\r\n", "the one before holds until the next is there"
    stage.server.answers.put_nowait(Token("two", 3599))
    await stage.renewal.refresh(source)
    assert stage.proof() == b"authorization: Bearer two\r\n"


async def test_each_secret_has_its_token_and_one_that_stays_keeps_its_own():
    both = [{"env": "SECRET"}, {"env": "OTHER"}]
    stage = Stage(credentials=both)
    assert await stage.renew(Token("t", 3599)) == 2
    assert len(stage.tokens.sources) == 2
    stage.use(credentials=both, weight=3)
    assert stage.proof() == stage.proof(1) == b"authorization: Bearer t\r\n"
    stage.use({"OTHER": "rotated"}, credentials=both)
    assert (stage.proof(), stage.proof(1)) == (b"authorization: Bearer t\r\n", None)
    stage.use({"CLIENT": "another-client"}, credentials=both)
    assert stage.proof() is None


async def test_without_a_token_the_credential_rests_and_the_reason_is_told_without_the_secret():
    stage = Stage()
    error = '{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret: %s\\r\\nTrace ID: x"}'
    said = read_token(401, (error % SECRET).encode(), SECRET)
    await stage.renew(said)
    ready = stage.snapshot.ready["a"]
    assert ready.health.key(ready.keys[0].identity).bench is Bench.NO_PROOF
    assert said == "the token server answers 401: invalid_client AADSTS7000215: Invalid client secret: *** Trace ID: x"


@pytest.mark.parametrize("form", [SECRET, "abc8Q~s3cr3t%2B%26%3D.x"])
def test_what_was_sent_is_not_shown_in_any_form(form):
    found = read_token(400, b'{"error":"x","error_description":"%b is wrong"}' % form.encode(), SECRET)
    assert found == "the token server answers 400: x *** is wrong"


async def test_a_request_without_a_token_fails_with_a_clear_reason(tmp_path):
    stage = Stage()
    router = Router(tmp_path, stage.snapshot)
    router.open("gpt-5-mini")
    await stage.renew("the token server answers 401: invalid_client")
    error = router.end().error
    assert error.kind == errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS
    assert error.message == "The provider did not accept this gateway's account."
    assert router.upstream.calls == []


async def test_a_token_that_azure_refuses_is_not_sent_again(tmp_path):
    stage = Stage()
    await stage.renew(Token("one", 3599))
    router = Router(tmp_path, stage.snapshot)
    router.clock = router.deps.clock = stage.clock
    router.open("gpt-5-mini")
    (call,) = router.upstream.calls
    assert call.proof == b"authorization: Bearer one\r\n"
    call.reply(401, b'{"error":{"code":"401","message":"Access token is missing, invalid or has expired."}}')
    assert stage.proof() is None
    assert len(stage.renewal.due()) == 1


# What leaves a channel out.


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ({"TENANT": "a/../b"}, "environment variable TENANT holds no tenant"),
        ({"TENANT": ""}, "environment variable TENANT is empty or not there"),
        ({"CLIENT": "a&b"}, "environment variable CLIENT holds no id of an application"),
        ({"SECRET": ""}, "environment variable SECRET is empty or not there"),
        ({"SECRET": "two words"}, "environment variable SECRET holds characters that no header may carry"),
    ],
)
def test_ids_and_secrets_that_are_none_are_named_by_their_place(secrets, words):
    (state,) = Stage(secrets).snapshot.channels
    assert words in state.problem
    assert not any(value in state.problem for value in secrets.values() if value)


@pytest.mark.parametrize(("private_network", "usable"), [(False, False), (True, True)])
def test_tokens_are_asked_for_without_tls_only_in_a_private_network(private_network, usable):
    entra = ENTRA | {"authority": "http://10.0.0.1/entra"}
    stage = Stage(cloud={"entra": entra}, private_network=private_network)
    assert (stage.snapshot.channels[0].problem == "") == usable
    if usable:
        (source,) = stage.tokens.sources.values()
        assert source.target.origin.private_network
        assert source.target.full_path(b"") == f"/entra/{TENANT}/oauth2/v2.0/token".encode()


def test_another_authority_and_scope_of_a_national_cloud():
    entra = ENTRA | {
        "authority": "https://login.microsoftonline.us",
        "scope": "https://cognitiveservices.azure.us/.default",
    }
    (source,) = Stage(cloud={"entra": entra}).tokens.sources.values()
    assert source.target.origin.host == "login.microsoftonline.us"
    assert parse_qs(source.account.form(0).decode())["scope"] == ["https://cognitiveservices.azure.us/.default"]


def test_the_channels_proxy_leads_to_the_authority_too():
    stage = Stage(proxy={"url": "http://proxy.example:3128"}, ports=None)
    (source,) = stage.tokens.sources.values()
    assert source.target.origin.proxy.host == "proxy.example"
