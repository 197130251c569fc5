"""Letters carried to receivers that check them: each robot, webhooks over HTTP and HTTPS, mail with TLS and a login."""

import asyncio
import base64
import contextlib
import json
import ssl

import pytest
from tests.servers.certificates import Authority
from tests.servers.notify import Receivers
from tests.servers.process import free_port

from tollgate_billing.adapters.guarded_http import GuardedHttp
from tollgate_billing.adapters.notice_sender import MailServer, NoticeSender
from tollgate_billing.control_ports import Letter
from tollgate_billing.domain.delivery import KINDS, Destination
from tollgate_kit.clock import ManualClock, SystemClock
from tollgate_resources.ports import DEFAULT_PORTS, Ports

pytestmark = pytest.mark.integration

PORTS = Ports("1-65535", "THE_PORTS")
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
SIGNED = {"webhook": SECRET, "feishu": "SEC-feishu", "dingtalk": "SEC-钉钉"}
FACT = {"about": "budget", "percent": 80, "spent_pico": 9_007_199_254_740_993}
LETTER = Letter("ntc_1", "预算 <b> & 100 %", ("Erste Zeile.\nZweite.", "最后"), 1_700_000_000_000_000, (FACT,))
LONG = Letter("ntc_2", "Title", ("预算" * 5_000,), 1_700_000_000_000_000, (FACT, FACT))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "mail")


@pytest.fixture(scope="module")
def trusted(authority):
    return ssl.create_default_context(cafile=authority.certificate)


@pytest.fixture(scope="module")
def receivers(tmp_path_factory, authority):
    made = authority.issue("DNS:localhost", "IP:127.0.0.1")
    tls = ["--smtp-certificate", str(made.certificate), "--smtp-key", str(made.key)]
    login = ["--smtp-user", "tollgate", "--smtp-password", "a password"]
    running = Receivers(tmp_path_factory.mktemp("receivers"), [*tls, *login])
    yield running.start()
    running.stop()


@pytest.fixture
def http():
    made = GuardedHttp(PORTS, private_network=True)
    yield made
    made.close()


@pytest.fixture
def sender(http):
    return NoticeSender(http, None, SystemClock())


def destination(kind, target, secret=""):
    return Destination("dst_1", "", "d", kind, target, secret)


@pytest.mark.parametrize("letter", [LETTER, LONG], ids=["short", "long"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mail"])
async def test_each_receiver_takes_what_is_signed_as_it_wants(receivers, sender, kind, letter):
    name = f"{kind}-{letter.id}"
    url = receivers.add(name, kind, SIGNED.get(kind, ""))
    assert (await sender.send(destination(kind, url, SIGNED.get(kind, "")), letter)).problem == ""
    (message,) = receivers.messages(name)
    assert message["problem"] == ""
    assert letter.title.split()[0] in message["text"]
    if kind == "webhook":
        payload = json.loads(message["text"])
        assert payload["type"] == "tollgate.budget"
        # Money stays exact on its way.
        assert payload["data"]["items"] == [dict(fact) for fact in letter.facts]
        assert message["id"] == letter.id


@pytest.mark.parametrize("kind", SIGNED)
async def test_a_wrong_secret_or_an_old_clock_is_noticed(receivers, sender, http, kind):
    url = receivers.add(f"wrong-{kind}", kind, SIGNED[kind])
    other = SECRET.replace("A", "B") if kind == "webhook" else "SEC-other"
    assert (await sender.send(destination(kind, url, other), LETTER)).problem
    late = NoticeSender(http, None, ManualClock(1_700_000_000_000_000))
    assert (await late.send(destination(kind, url, SIGNED[kind]), LETTER)).problem
    assert all(message["problem"] for message in receivers.messages(f"wrong-{kind}"))


async def test_what_an_answer_says_is_heeded(receivers, sender):
    hook = destination("webhook", receivers.add("faulty", "webhook", SECRET), SECRET)
    receivers.fail("faulty", 429, retry_after=7)
    outcome = await sender.send(hook, LETTER)
    assert (outcome.problem, outcome.final, outcome.retry_after_seconds) == ("answered 429", False, 7)
    receivers.fail("faulty", 410)
    assert (await sender.send(hook, LETTER)).final is True
    receivers.fail("faulty", 302)
    assert (await sender.send(hook, LETTER)).problem == "answered 302"
    # Taken, and dead before it answered: sent again, it is a copy under the same id.
    receivers.fail("faulty", 0)
    assert "localhost" in (await sender.send(hook, LETTER)).problem
    assert (await sender.send(hook, LETTER)).problem == ""
    assert [message["copy"] for message in receivers.messages("faulty")] == [False, True]


async def test_no_private_address_is_reached_unless_it_is_allowed(receivers):
    guarded = GuardedHttp(PORTS, private_network=False)
    sender = NoticeSender(guarded, None, SystemClock())
    url = receivers.add("private", "webhook", SECRET)
    for target, said in (
        (url, "only https://"),
        (f"https://localhost:{receivers.port}/webhook/private", "may not be reached"),
        ("https://127.0.0.1/", "may not be reached"),
        ("https://[::1]/", "may not be reached"),
        ("https://169.254.169.254/latest/meta-data", "may not be reached"),
        ("https://0x7f.1/", "may not be reached"),
    ):
        problem = (await sender.send(destination("webhook", target, SECRET), LETTER)).problem
        assert said in problem, (target, problem)
        assert "/webhook/private" not in problem
    guarded.close()
    open_one = GuardedHttp(PORTS, private_network=True)
    metadata = destination("webhook", "http://169.254.169.254/", SECRET)
    assert "may not be reached" in (await NoticeSender(open_one, None, SystemClock()).send(metadata, LETTER)).problem
    open_one.close()
    assert receivers.messages("private") == []


@pytest.mark.parametrize("place", ["1.1.1.1:22", "localhost:25", "[2606:4700:4700::1111]:6379", "hooks.example:1"])
async def test_no_port_is_reached_that_is_not_listed(place):
    guarded = GuardedHttp(Ports(DEFAULT_PORTS, "THE_PORTS"), private_network=False)
    hook = destination("webhook", f"https://{place}/", SECRET)
    problem = (await NoticeSender(guarded, None, SystemClock()).send(hook, LETTER)).problem
    assert problem.startswith(f"port {place.rpartition(':')[2]} is not among those that THE_PORTS lists")
    guarded.close()


async def test_an_answer_that_drips_in_is_not_waited_for():
    fed = asyncio.Event()

    async def drip(reader, writer):
        # A slow machine may give up before it has asked.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
            while await reader.read(1_000):
                writer.write(b".")
        fed.set()
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    http = GuardedHttp(PORTS, private_network=True, total_seconds=0.3, threads=1)
    hook = destination("webhook", f"http://127.0.0.1:{port}/", SECRET)
    outcome = await NoticeSender(http, None, SystemClock()).send(hook, LETTER)
    assert outcome.problem == "no whole answer within 0.3 s"
    # The connection is gone, and with it what held the only thread.
    await asyncio.wait_for(fed.wait(), 60)
    assert await http.run(lambda: "free") == "free"
    http.close()
    server.close()


async def test_https_is_checked_by_name(tmp_path, authority, trusted):
    made = authority.issue("DNS:localhost")
    arguments = ["--http-certificate", str(made.certificate), "--http-key", str(made.key)]
    running = Receivers(tmp_path, arguments, trusted).start()
    url = running.add("safe", "webhook", SECRET)
    known, stranger = GuardedHttp(PORTS, private_network=True, tls=trusted), GuardedHttp(PORTS, private_network=True)
    assert (
        await NoticeSender(known, None, SystemClock()).send(destination("webhook", url, SECRET), LETTER)
    ).problem == ""
    by_address = url.replace("localhost", "127.0.0.1")
    for http, target in ((known, by_address), (stranger, url)):
        problem = (
            await NoticeSender(http, None, SystemClock()).send(destination("webhook", target, SECRET), LETTER)
        ).problem
        assert "CERTIFICATE_VERIFY_FAILED" in problem
    assert len(running.messages("safe")) == 1
    known.close()
    stranger.close()
    running.stop()


async def test_mail_goes_over_tls_with_a_login_or_says_why_not(receivers, http, trusted):
    server = MailServer("localhost", receivers.smtp_port, "tollgate@example.com", "starttls", "tollgate", "a password")
    to = destination("mail", "ops@example.com, 财务@example.com".replace("财务", "cfo"))
    sender = NoticeSender(http, server, SystemClock(), lambda: trusted)
    assert (await sender.send(to, LETTER)).problem == ""
    for address in ("ops@example.com", "cfo@example.com"):
        (message,) = receivers.messages(address)
        assert (message["problem"], message["id"]) == ("", "<ntc_1@example.com>")
        assert message["text"].startswith("预算 <b> & 100 %\n")
        assert "Zweite." in message["text"]
        assert "最后" in message["text"]
    wrong = MailServer("localhost", receivers.smtp_port, "tollgate@example.com", "starttls", "tollgate", "guessed")
    for made, tls, said in (
        (wrong, trusted, "answered 535"),
        (server, ssl.create_default_context(), "CERTIFICATE_VERIFY_FAILED"),
        (MailServer("localhost", receivers.smtp_port, "t@example.com", "none"), trusted, "answered 530"),
        (MailServer("localhost", free_port(), "t@example.com", "none"), trusted, "refused"),
        (None, trusted, "no mail server is set up"),
    ):
        problem = (await NoticeSender(http, made, SystemClock(), lambda tls=tls: tls).send(to, LETTER)).problem
        assert said in problem, problem
        assert "guessed" not in problem
