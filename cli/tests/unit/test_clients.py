"""Every client's set-up, read by that client's own rules."""

import ast
import json
import re
import tomllib
from urllib.parse import urlsplit

import pytest
import yaml
from cli.tests.fakes import client_rules as rules

from tollgate_cli.clients import Values, find_client, load_clients, origin_of, set_up
from tollgate_cli.errors import Failure

pytestmark = pytest.mark.unit

ORIGIN = "https://ai.example:8443"
KEY = "sk-tg-A+/=_-%&#?b"
VALUES = Values(ORIGIN, KEY, "vendor/gpt 5")
CLIENTS = load_clients()


def made(name, values=VALUES, app=""):
    return set_up(CLIENTS[name], values, app)


def link_of(name, link="import", **named):
    return made(name, **named).links[link]


def test_every_client_of_the_reference_is_there_and_has_rules():
    assert rules.CALLS.keys() == CLIENTS.keys()


@pytest.mark.parametrize("name", CLIENTS)
def test_what_is_typed_leads_to_paths_that_are_served_whatever_the_client_appends(name):
    for address in rules.CALLS[name](made(name).base_url):
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}" == ORIGIN
        assert not re.search(r"/v1/v1|//|/v1/v1beta", parts.path), address


@pytest.mark.parametrize("name", CLIENTS)
def test_nothing_is_left_to_fill_in(name):
    found = made(name)
    texts = [
        *found.env.values(),
        *found.links.values(),
        *(field["value"] for field in found.fields),
        *(file["content"] for file in found.files),
    ]
    for text in texts:
        assert not re.search(r"\{(origin|v1|v1beta|key|model|app|payload)\}", text)
    assert found.env or found.links or found.fields or found.files
    for lang, end in (("en", "."), ("zh", "。")):
        # A comma outside of quotes would have made two of one.
        assert all(step.endswith(end) and not step[0].islower() for step in CLIENTS[name]["steps"][lang])
    assert len(CLIENTS[name]["steps"]["en"]) == len(CLIENTS[name]["steps"]["zh"])


@pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if "files" in client])
def test_files_are_of_their_format_and_hold_address_and_key(name):
    readers = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load, "python": ast.parse, "ts": str}
    for file in made(name).files:
        readers[file["format"]](file["content"])
        assert ORIGIN in file["content"]


def test_claude_code_s_settings():
    (file,) = made("claude-code").files
    env = {"ANTHROPIC_BASE_URL": ORIGIN, "ANTHROPIC_AUTH_TOKEN": KEY, "ANTHROPIC_MODEL": "vendor/gpt 5"}
    assert json.loads(file["content"]) == {"env": env}
    assert made("claude-code").env == env


def test_codex_s_configuration():
    found = made("codex")
    read = tomllib.loads(found.files[0]["content"])
    provider = read["model_providers"][read["model_provider"]]
    assert (provider["base_url"], provider["wire_api"]) == (f"{ORIGIN}/v1", "responses")
    assert found.env == {provider["env_key"]: KEY}
    assert read["model"] == "vendor/gpt 5"


def test_continue_s_configuration():
    (model,) = yaml.safe_load(made("continue").files[0]["content"])["models"]
    assert (model["provider"], model["apiBase"], model["apiKey"]) == ("openai", f"{ORIGIN}/v1", KEY)


def test_cherry_studio_s_link():
    assert rules.cherry_import(link_of("cherry-studio")) == {"id": "new-api", "baseUrl": ORIGIN, "apiKey": KEY}


def test_cherry_studio_s_link_refuses_what_its_decoder_would_spoil():
    with pytest.raises(Failure, match="cannot carry"):
        made("cherry-studio", Values(ORIGIN, "sk-(x)'"))


def test_chatbox_s_link():
    found = rules.chatbox_import(link_of("chatbox"))
    assert found["settings"] == {"apiHost": ORIGIN, "apiKey": KEY}
    assert f"{ORIGIN}/v1/chat/completions" in rules.chatbox(found["settings"]["apiHost"])


@pytest.mark.parametrize("app", ["", "https://chat.example/"])
def test_nextchat_s_link(app):
    link = link_of("nextchat", app=app)
    assert link.startswith((app or "https://app.nextchat.dev/") + "#/?settings=")
    assert rules.nextchat_import(link) == {"key": KEY, "url": ORIGIN}


def test_lobechat_s_link():
    found = rules.json_parameter(link_of("lobechat"), "settings")
    assert found == {"keyVaults": {"openai": {"apiKey": KEY, "baseURL": f"{ORIGIN}/v1"}}}


def test_ai_as_workspace_s_link():
    found = rules.json_parameter(link_of("ai-as-workspace"), "provider")
    settings = {"apiKey": KEY, "baseURL": f"{ORIGIN}/v1", "compatibility": "strict"}
    assert found == {"type": "openai", "settings": settings}


@pytest.mark.parametrize(
    ("name", "address", "member"),
    [("aionui", "aionui://provider/add", "platform"), ("deepchat", "deepchat://provider/install", "id")],
)
def test_links_of_apps_that_know_new_api(name, address, member):
    found, query = rules.query_import(link_of(name))
    assert (found, query["v"]) == (address, "1")
    assert rules.read_base64(query["data"]) == {member: "new-api", "baseUrl": ORIGIN, "apiKey": KEY}


@pytest.mark.parametrize(
    ("name", "address", "server", "key"),
    [("ama", "ama://set-api-key", "server", "key"), ("opencat", "opencat://team/join", "domain", "token")],
)
def test_links_of_phones(name, address, server, key):
    assert rules.query_import(link_of(name)) == (address, {server: ORIGIN, key: KEY})
    assert made(name).phone == ("import",)


@pytest.mark.parametrize(("app", "endpoint"), [("claude", ORIGIN), ("codex", f"{ORIGIN}/v1"), ("gemini", ORIGIN)])
def test_cc_switch_s_links(app, endpoint):
    address, query = rules.query_import(link_of("cc-switch", app))
    assert address == "ccswitch://v1/import"
    assert (query["resource"], query["app"], query["endpoint"], query["apiKey"]) == ("provider", app, endpoint, KEY)
    assert query["model"] == "vendor/gpt 5"
    assert "model" not in rules.query_import(link_of("cc-switch", app, values=Values(ORIGIN, KEY)))[1]


@pytest.mark.parametrize(
    ("typed", "origin"),
    [
        ("https://h", "https://h"),
        ("h.example", "https://h.example"),
        (" http://127.0.0.1:8080/v1/ ", "http://127.0.0.1:8080"),
        ("https://h/v1/v1", "https://h"),
        ("https://h/v1/chat/completions", "https://h"),
        ("https://h/v1/chat/completions#", "https://h"),
        ("https://h/v1beta", "https://h"),
        ("https://h/gate/v1", "https://h/gate"),
        ("http://[::1]:80/v1", "http://[::1]:80"),
    ],
)
def test_however_it_was_typed_it_is_the_same_gateway(typed, origin):
    assert origin_of(typed) == origin


@pytest.mark.parametrize(
    "typed", ["", "ftp://h", "https://", "https://h?x=1", "https://a:b@h", "https://h:99999", "https://h/'x", "a b"]
)
def test_what_is_no_address_is_refused(typed):
    with pytest.raises(Failure) as refused:
        origin_of(typed)
    assert refused.value.code == 2


@pytest.mark.parametrize(
    ("asked", "found"), [("cursor", "cursor"), ("Cherry", "cherry-studio"), ("Roo Code", "roo-code")]
)
def test_a_client_is_found_by_id_or_by_its_name_s_beginning(asked, found):
    assert find_client(asked)["id"] == found


@pytest.mark.parametrize("asked", ["", "nothing", "Dify", "!!"])
def test_an_unknown_client_is_told_which_there_are(asked):
    with pytest.raises(Failure, match="no client") as refused:
        find_client(asked)
    assert "cherry-studio" in refused.value.advice
