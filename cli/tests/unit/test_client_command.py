"""`tollgate client`: what it prints, and how it fails."""

import json

import pytest

from tollgate_cli.clients import load_clients
from tollgate_cli.main import main

pytestmark = pytest.mark.unit

HERE = ("--url", "https://ai.example/v1/", "--key", "sk-tg-abc")


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs the command where no product is, and returns its exit code and what it printed."""
    monkeypatch.setenv("TOLLGATE_HOME", str(tmp_path))
    for name in ("TOLLGATE_URL", "TOLLGATE_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(["client", *words])
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return call


def test_all_are_listed(run):
    code, out, _ = run()
    assert code == 0
    assert all(name in out for name in load_clients())
    code, out, _ = run("--json")
    assert [item["id"] for item in json.loads(out)["items"]] == list(load_clients())


@pytest.mark.parametrize("name", load_clients())
def test_each_is_shown_for_people_and_for_scripts(run, name):
    code, out, _ = run(name, *HERE, "--lang", "zh")
    assert code == 0
    assert "https://ai.example" in out
    assert load_clients()[name]["steps"]["zh"][0] in out
    code, out, _ = run(name, *HERE, "--json")
    found = json.loads(out)
    assert found["base_url"].startswith("https://ai.example")
    assert set(found) == {"id", "name", "base_url", "env", "fields", "files", "links", "phone", "steps"}


def test_without_a_key_there_is_a_placeholder_and_a_word_about_it(run, monkeypatch):
    code, out, _ = run("codex", "--lang", "en")
    assert code == 0
    assert "sk-tg-YOUR_KEY" in out
    assert "TOLLGATE_API_KEY" in out
    monkeypatch.setenv("TOLLGATE_API_KEY", "sk-tg-from-there")
    assert "sk-tg-from-there" in run("codex", "--url", "https://ai.example")[1]


def test_links_alone_and_as_codes(run):
    code, out, _ = run("nextchat", *HERE, "--link", "--app", "https://chat.example/")
    assert code == 0
    (link,) = out.split()
    assert link.startswith("https://chat.example/#/?settings=%7B")
    code, out, _ = run("opencat", *HERE, "--qr")
    assert code == 0
    drawn = [line for line in out.splitlines() if set(line) <= set(" █▀▄")]
    assert len(drawn) > 15


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("netscape",), "There is no client 'netscape'"),
        (("cursor", *HERE, "--link"), "takes no link"),
        (("opencat", "--url", "https://ai.example", "--qr"), "without a key"),
        (("opencat", "--url", "ftp://ai.example"), "not the address"),
        (("opencat", "--url", "https://ai.example", "--key", "a b"), "no blanks"),
        (("codex", *HERE, "--model", 'x"'), "no quotes"),
        (("codex", "--lang", "fr"), "en or zh"),
    ],
)
def test_wrong_words_exit_with_2_and_say_what_is_right(run, words, said):
    code, _, err = run(*words)
    assert code == 2
    assert said in err
