"""The origin that a channel's declaration comes to."""

import base64

import pytest

from tollgate_resources import Declared, VersionChannel, compile_version, digest, load_catalogue, parse_version
from tollgate_resources.ports import DEFAULT_PORTS, Ports
from tollgate_router.adapters.credentials import EnvironmentCredentials
from tollgate_router.domain.origins import origin_of
from tollgate_router.domain.reaching import ORDINARY_TLS, Proxy, Tls
from tollgate_router.domain.snapshot import CredentialMissing, compile_snapshot

pytestmark = pytest.mark.unit

CREDENTIALS = EnvironmentCredentials({"KEY": "k", "LOGIN": "me:se:cret", "ODD": "word"})


def channel(**changes):
    values = {"name": "main", "provider": "openai", "base_url": "https://a.example/v1", "models": [{"name": "m"}]}
    return VersionChannel.model_validate(values | changes)


def origin(**changes):
    return origin_of(channel(**changes), CREDENTIALS.resolve)


def test_what_is_not_said_is_ordinary():
    found, path = origin()
    assert (found.scheme, found.host, found.port, path) == ("https", "a.example", 443, "/v1")
    assert (found.tls, found.proxy, found.private_network) == (ORDINARY_TLS, None, False)


def test_tls_is_taken_over():
    found, _ = origin(tls={"ca_file": "/ca", "certificate_file": "/c", "key_file": "/k", "server_name": "s"})
    assert found.tls == Tls("/ca", "/c", "/k", "s")


def test_a_proxy_is_taken_over_and_shows_its_password_to_nobody():
    login = {"env": "LOGIN"}
    found, _ = origin(
        proxy={"url": "http://p.example:3128", "credential": login, "private_network": True, "resolve": "proxy"}
    )
    encoded = base64.b64encode(b"me:se:cret").decode()
    assert found.proxy == Proxy("p.example", 3128, f"Basic {encoded}", private_network=True, resolves=True)
    assert encoded not in repr(found)
    assert origin(proxy={"url": "http://[::1]:3128"})[0].proxy == Proxy("::1", 3128)


def test_what_cannot_be_a_login_is_refused():
    with pytest.raises(ValueError, match="user:password"):
        origin(proxy={"url": "http://p:1", "credential": {"env": "ODD"}})
    with pytest.raises(CredentialMissing, match="NOT_THERE"):
        origin(proxy={"url": "http://p:1", "credential": {"env": "NOT_THERE"}})


def test_equal_declarations_share_an_origin_and_others_do_not():
    """Connections are kept by it."""
    one = {"url": "http://p:1", "credential": {"env": "LOGIN"}}
    assert origin(proxy=one) == origin(proxy=one)
    assert len({origin()[0], origin(proxy=one)[0], origin(proxy=one | {"credential": {"env": "LOGIN"}})[0]}) == 2
    assert origin(proxy=one)[0] != origin(proxy={"url": "http://p:1"})[0]
    assert origin(tls={"ca_file": "/a"})[0] != origin(tls={"ca_file": "/b"})[0]


def test_targets_of_a_snapshot_go_the_way_that_their_channel_says():
    catalogue = load_catalogue()
    declared = Declared.model_validate(
        {
            "channels": [
                {
                    "name": "good",
                    "provider": "openai",
                    "models": ["gpt-5.1"],
                    "credentials": [{"env": "KEY"}],
                    "tls": {"ca_file": "/ca"},
                    "proxy": {"url": "http://p:1"},
                },
                {
                    "name": "bad",
                    "provider": "openai",
                    "models": ["gpt-5.1"],
                    "credentials": [{"env": "KEY"}],
                    "proxy": {"url": "http://p:1", "credential": {"env": "ODD"}},
                },
            ]
        }
    )
    document = compile_version(declared, catalogue)
    snapshot = compile_snapshot(parse_version(document), digest(document), CREDENTIALS)
    assert [bool(state.problem) for state in snapshot.channels] == [True, False]
    targets = list(snapshot.route("default", "gpt-5.1").targets())
    assert {(target.channel, target.origin.tls.ca_file, target.origin.proxy.host) for target in targets} == {
        ("good", "/ca", "p")
    }
    assert snapshot.origins() == {targets[0].origin}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"base_url": "https://api.example:6379/v1"}, "port 6379 "),
        ({"base_url": "https://api.example:6379/v1", "private_network": True}, ""),
        ({"base_url": "https://api.example/v1"}, ""),
        ({"base_url": "https://api.example/v1", "proxy": {"url": "http://proxy.example:25"}}, "port 25 "),
        ({"base_url": "https://api.example/v1", "proxy": {"url": "http://10.0.0.1:25", "private_network": True}}, ""),
    ],
)
def test_a_channel_at_a_port_that_is_not_listed_is_left_out_and_says_why(more, said):
    one = {"name": "one", "provider": "openai", "models": ["gpt-5.1"], "credentials": [{"env": "KEY"}]}
    declared = Declared.model_validate({"channels": [one | more]})
    document = parse_version(compile_version(declared, load_catalogue()))
    ports = Ports(DEFAULT_PORTS, "THE_PORTS")
    (state,) = compile_snapshot(document, "d", CREDENTIALS, ports=ports).channels
    assert state.problem.startswith(said)
    assert bool(state.problem) == bool(said)
    assert "THE_PORTS" in state.problem or not said
