"""Access tokens of service accounts: key files, assertions, renewal ahead of the end, waiting, and benches."""

import asyncio
import base64
import json
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from services.router.tests.fakes.tokens import FakeTokenServer

from tollgate_kit.clock import ManualClock
from tollgate_resources import Channel, Cloud, Declared, compile_version, load_catalogue, parse_version
from tollgate_router.adapters.credentials import EnvironmentCredentials
from tollgate_router.adapters.rsa_key import load_rsa_key
from tollgate_router.domain.health.policy import HealthPolicy
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.service_account import InvalidAccount, parse_account
from tollgate_router.domain.snapshot import compile_snapshot
from tollgate_router.domain.tokens import Token, Tokens, read_token
from tollgate_router.domain.upstream_errors import Bench
from tollgate_router.use_cases.refresh_tokens import RefreshTokens

pytestmark = pytest.mark.unit
CLASSIC, WEB = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM


def pem(key, encryption=None):
    return key.private_bytes(WEB, CLASSIC, encryption or serialization.NoEncryption()).decode()


@pytest.fixture(scope="module")
def private():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def key_file(private):
    return {
        "type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": pem(private),
        "client_email": "me@p.iam.example", "token_uri": "https://tokens.example/token",
    }  # fmt: skip


# Key files.


def test_an_assertion_is_what_the_vendor_asks_for(private, key_file):
    form = parse_qs(parse_account(json.dumps(key_file), load_rsa_key).form(1_795_955_696_000_000).decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    signed, _, signature = form["assertion"][0].rpartition(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in signed.split("."))
    assert header == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert claims["iss"] == "me@p.iam.example"
    assert claims["aud"] == "https://tokens.example/token"
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert (claims["iat"], claims["exp"] - claims["iat"]) == (1_795_955_686, 3600)
    proof = base64.urlsafe_b64decode(signature + "==")
    private.public_key().verify(proof, signed.encode(), padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "authorized_user"}, '"type"'),
        ({"client_email": ""}, '"client_email"'),
        ({"private_key": None}, '"private_key"'),
        ({"private_key": "-----BEGIN s3cr3t-----"}, "no private key in PEM"),
        ({"private_key_id": 7}, '"private_key_id"'),
        ({"token_uri": "http://tokens.example/token"}, "no https:// address"),
        ({"token_uri": "file:///etc/passwd"}, "no https:// address"),
    ],
)
def test_a_key_file_that_is_none_says_why_and_nothing_of_it(key_file, change, words):
    with pytest.raises(InvalidAccount) as caught:
        parse_account(json.dumps(key_file | change), load_rsa_key)
    assert words in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"s3cr3t"', "[" * 100_000])
def test_what_is_no_json_object(text):
    with pytest.raises(InvalidAccount) as caught:
        parse_account(text, load_rsa_key)
    assert "s3cr3t" not in str(caught.value)


def test_keys_that_cannot_sign(key_file):
    locked = pem(rsa.generate_private_key(65537, 2048), serialization.BestAvailableEncryption(b"x"))
    for key, words in ((locked, "pass phrase"), (pem(ec.generate_private_key(ec.SECP256R1())), "no RSA key")):
        with pytest.raises(InvalidAccount, match=words):
            parse_account(json.dumps(key_file | {"private_key": key}), load_rsa_key)


# What a token server says.


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"access_token":"t","expires_in":3599,"token_type":"Bearer"}', Token("t", 3599)),
        (200, b'{"access_token":"t","expires_in":"60"}', Token("t", 60)),
        (400, b'{"error":"invalid_grant","error_description":"Invalid JWT Signature."}', "invalid_grant"),
        (200, b'{"error":"x"}', "answers 200: x"),
        (503, b"<html>", "no JSON"),
        (200, b"{}", "no token"),
        (200, b'{"access_token":"t\\r\\nx: y","expires_in":60}', "no token"),
        (200, b'{"access_token":"t","expires_in":0}', "no token"),
        (200, b'{"access_token":"t","expires_in":1e30}', "no token"),
    ],
)
def test_answers_of_token_servers(status, body, expected):
    found = read_token(status, body)
    assert found == expected if isinstance(expected, Token) else expected in found


# Renewal.


class Stage:
    """A channel at Vertex with its renewal, on a clock that the test moves."""

    def __init__(self, key_file, models=("gemini-2.5-pro",), **fields):
        self.changes = []
        self.clock = ManualClock()
        self.server = FakeTokenServer()
        self.tokens = Tokens(load_rsa_key)
        self.renewal = RefreshTokens(self.server, self.tokens, self.clock)
        self.health = Health(HealthPolicy(), self.changes.append)
        self.use(key_file, models, **fields)

    def use(self, key_file, models=("gemini-2.5-pro",), **fields):
        """Puts a configuration in force."""
        base = {"name": "v", "provider": "vertex", "credentials": [{"env": "KEY"}], "models": list(models)}
        cloud = Cloud(region="global", project="p")
        declared = Declared(channels=(Channel.model_validate(base | {"cloud": cloud} | fields),))
        document = parse_version(compile_version(declared, load_catalogue()))
        secrets = EnvironmentCredentials({"KEY": json.dumps(key_file, indent=2)})
        self.snapshot = compile_snapshot(document, "d", secrets, self.health, 0, self.tokens)
        self.renewal.follow(self.snapshot)

    def target(self, model="gemini-2.5-pro"):
        """Returns the only target of a model."""
        return self.snapshot.route("default", model).base.levels[0].targets[0]

    def proof(self):
        """Returns what a request would carry now."""
        return self.target().signer.proof(b"POST", "h", b"/", b"", self.clock.now_us())

    async def renew(self, answer):
        """Lets whatever is due be asked for, and answers."""
        tasks = [asyncio.ensure_future(self.renewal.refresh(source)) for source in self.renewal.due()]
        self.server.answers.put_nowait(answer)
        await asyncio.gather(*tasks)
        return len(tasks)

    def bench(self):
        """Returns why the channel's only credential rests."""
        ready = self.snapshot.ready["v"]
        return ready.health.key(ready.keys[0].identity).bench


async def test_a_token_is_renewed_ahead_of_its_end_by_one_request_at_a_time(key_file):
    bench = Stage(key_file)
    assert bench.proof() is None
    (source,) = bench.renewal.due()
    assert bench.renewal.due() == [], "one is under way"
    bench.server.answers.put_nowait(Token("one", 3600))
    await bench.renewal.refresh(source)
    assert bench.proof() == b"authorization: Bearer one\r\n"
    bench.clock.advance(3600 - 301)
    assert bench.renewal.due() == []
    bench.clock.advance(2)
    assert await bench.renew(Token("two", 3600)) == 1
    assert bench.proof() == b"authorization: Bearer two\r\n"


async def test_a_failure_while_a_token_holds_stops_nobody(key_file):
    bench = Stage(key_file)
    await bench.renew(Token("one", 3600))
    bench.clock.advance(3400)
    assert await bench.renew("the token server answers 503") == 1
    assert (bench.proof(), bench.bench()) == (b"authorization: Bearer one\r\n", Bench.NONE)
    bench.clock.advance(0.5)
    assert bench.renewal.due() == [], "there is a pause"
    bench.clock.advance(0.6)
    assert await bench.renew("the token server answers 503") == 1
    bench.clock.advance(200)
    assert bench.proof() is None


async def test_without_a_token_the_credential_rests_and_says_why_until_there_is_one(key_file):
    bench = Stage(key_file)
    await bench.renew("the token server answers 400: invalid_grant")
    assert bench.bench() is Bench.NO_PROOF
    assert bench.target().seat.hindrance(bench.clock.monotonic()).detail == Bench.NO_PROOF.value
    (change,) = bench.changes
    assert (change.subject, change.state) == ("key 0", "benched")
    bench.clock.advance(2)
    await bench.renew(Token("one", 60))
    assert bench.bench() is Bench.NONE
    assert bench.target().seat.hindrance(bench.clock.monotonic()) is None


async def test_who_waits_is_told_once_and_may_give_up(key_file):
    bench = Stage(key_file)
    signer = bench.target().signer
    told = []
    signer.wait(lambda problem: told.append(("first", problem)))
    signer.wait(lambda problem: told.append(("second", problem)))()
    await bench.renew("no")
    assert told == [("first", "no")]
    signer.wait(lambda problem: told.append(("third", problem)))
    assert await bench.renew(Token("one", 60)) == 1, "who waits does not wait for a pause"
    assert told[1:] == [("third", "")]


async def test_a_token_that_the_provider_rejects_is_not_sent_again(key_file):
    bench = Stage(key_file)
    await bench.renew(Token("one", 3600))
    bench.target().signer.rejected()
    assert bench.proof() is None
    assert await bench.renew(Token("two", 3600)) == 1
    assert bench.proof() == b"authorization: Bearer two\r\n"


async def test_a_token_outlives_a_configuration_but_not_its_key_file(key_file):
    bench = Stage(key_file)
    await bench.renew(Token("one", 3600))
    bench.use(key_file, weight=7)
    assert bench.proof() == b"authorization: Bearer one\r\n"
    bench.use(key_file | {"private_key_id": "k2"})
    assert bench.proof() is None
    assert len(bench.tokens.sources) == 1


async def test_renewal_runs_until_it_is_stopped(key_file):
    bench = Stage(key_file)
    stopping = asyncio.Event()
    running = asyncio.create_task(bench.renewal.run(stopping))
    waited = asyncio.get_running_loop().create_future()
    bench.target().signer.wait(waited.set_result)
    bench.server.answers.put_nowait(Token("one", 3600))
    assert await asyncio.wait_for(waited, 30) == ""
    stopping.set()
    await asyncio.wait_for(running, 30)
    assert (bench.renewal.asked, bench.renewal.failed) == (1, 0)


async def test_the_last_requests_of_an_earlier_configuration_get_a_token(key_file):
    stage = Stage(key_file)
    signer = stage.target().signer
    stage.use(key_file | {"private_key_id": "k2"})
    await stage.renew(Token("of the new one", 60))
    told = []
    signer.wait(told.append)
    assert await stage.renew(Token("of the old one", 60)) == 1
    assert told == [""]


# Where models are asked.


def test_gemini_and_claude_have_each_their_publisher(key_file):
    models = ["gemini-2.5-pro", {"name": "claude", "upstream": "claude-sonnet-4-5@20250929"}]
    bench = Stage(key_file, models)
    gemini, claude = bench.target(), bench.target("claude")
    assert gemini.base_path == "/v1/projects/p/locations/global/publishers/google"
    assert gemini.origin.host == "aiplatform.googleapis.com"
    assert (claude.base_path.rpartition("/")[2], claude.body_version) == ("anthropic", "vertex-2023-10-16")
    assert gemini.signer is claude.signer


def test_a_channel_whose_key_file_is_none_is_left_out_and_says_why(key_file):
    bench = Stage(key_file | {"private_key": "s3cr3t"})
    (state,) = bench.snapshot.channels
    assert state.problem == (
        'environment variable KEY has a "private_key" that is no private key in PEM without a pass phrase'
    )


@pytest.mark.parametrize(("private_network", "usable"), [(False, False), (True, True)])
def test_tokens_are_fetched_without_tls_only_in_a_private_network(key_file, private_network, usable):
    bench = Stage(key_file | {"token_uri": "http://10.0.0.1/token"}, private_network=private_network)
    assert (bench.snapshot.channels[0].problem == "") == usable
    if usable:
        (source,) = bench.tokens.sources.values()
        assert (source.target.origin.private_network, source.target.full_path(b"")) == (True, b"/token")
