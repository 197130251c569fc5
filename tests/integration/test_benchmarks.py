"""What the benchmarks rest on: other people's programs are pinned, get nothing of ours, and are counted whole."""

import json
import os
import re
import sys
import urllib.request
from dataclasses import replace

import pytest
import yaml
from benchmarks.events import EventSource, Template, price_table
from benchmarks.machine import percentile
from benchmarks.peers.alone import INSIDE, is_alone
from benchmarks.peers.declared import FOLDER, ROOT, CannotGet, Peer, get, load_peers
from benchmarks.peers.running import PeerFailed, Subject, descendants, started
from tests.servers.process import Child

pytestmark = pytest.mark.integration

PINNED = re.compile(r"^[a-z0-9._-]+(\[[a-z]+\])?==[^ ]+( ;.*)? \\$")
# Answers every request with its own environment, after it has started a child as many servers do.
ECHO = """
import http.server, json, os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"environment": dict(os.environ), "here": sorted(os.listdir()), "child": child.pid}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
try:
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
finally:
    child.kill()
"""


@pytest.fixture
def echo():
    return Peer(
        name="echo",
        title="Echo",
        get="none",
        how="nowhere",
        command=[sys.executable, "{directory}/echo.py", "{port}"],
        environment={"UPSTREAM": "http://127.0.0.1:{upstream}"},
        files={"echo.py": ECHO, "set.yaml": "port: {port}"},
        headers={"x-there": "{upstream}"},
    )


def asked(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as reply:
        return json.loads(reply.read())


def test_a_peer_gets_an_empty_directory_and_nothing_of_our_environment(echo, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with started(echo, tmp_path / "run", 9100) as subject:
        found = asked(subject.port)
        assert subject.headers == {"x-there": "9100"}
        assert subject.memory_bytes() > 0
        assert set(subject.pids) < set(descendants(subject.pids))
        assert found["child"] in descendants(subject.pids)
    environment = {name for name in found["environment"] if not name.startswith(("LC_", "__CF"))}
    assert environment == {"PATH", "HOME", "TMPDIR", "UPSTREAM"}
    assert found["environment"]["UPSTREAM"] == "http://127.0.0.1:9100"
    assert set(found["here"]) == {"echo.py", "set.yaml", "output"}


def test_processor_time_of_children_counts(tmp_path):
    spin = [sys.executable, "-c", "sum(range(30_000_000))"]
    parent = f"import subprocess, time\nsubprocess.run({spin})\nprint('done', flush=True)\ntime.sleep(60)"
    child = Child([sys.executable, "-c", parent], tmp_path / "log")
    child.start(lambda: "done" in child.tail())
    try:
        # The child has ended, and its time counts all the same.
        assert Subject("x", 0, {}, "", [child.pid]).processor_seconds() > 0.05
    finally:
        child.kill()


def test_a_peer_that_does_not_start_says_what_it_printed(echo, tmp_path):
    broken = replace(echo, command=[sys.executable, "-c", "import sys; sys.exit('no such model')"])
    with pytest.raises(PeerFailed, match="no such model"), started(broken, tmp_path / "run", 9100):
        pass


def test_every_peer_says_how_it_is_got_and_what_it_does():
    peers = load_peers()
    assert len({peer.name for peer in peers}) == len(peers)
    for peer in peers:
        assert peer.advice
        assert peer.get in {"pip", "npm", "none"}
        if peer.get != "none":
            assert peer.program
            assert peer.command
            assert peer.says
            assert peer.events >= 65
        else:
            with pytest.raises(CannotGet, match=peer.name):
                get(peer)


def test_what_is_installed_for_a_peer_is_pinned_by_hash():
    for peer in load_peers():
        if peer.get == "pip":
            lines = (FOLDER / "locks" / f"{peer.name}.txt").read_text().splitlines()
            requirements = [number for number, line in enumerate(lines) if line and not line.startswith((" ", "#"))]
            assert requirements
            for number in requirements:
                assert PINNED.match(lines[number]), lines[number]
                assert "--hash=sha256:" in lines[number + 1]
        elif peer.get == "npm":
            lock = json.loads((FOLDER / "locks" / peer.name / "package-lock.json").read_bytes())
            packages = {name: entry for name, entry in lock["packages"].items() if name}
            assert packages
            assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
            assert not any("resolved" in entry for entry in packages.values())


def test_no_peer_is_among_our_own_dependencies_nor_of_a_version_that_was_malicious():
    ours = (ROOT / "requirements.lock").read_text()
    theirs = (FOLDER / "locks" / "litellm.txt").read_text()
    assert not re.search(r"^(litellm|ferrogw)\b", ours, re.MULTILINE)
    version = re.search(r"^litellm(?:\[proxy\])?==(\S+)", theirs, re.MULTILINE)
    assert version is not None
    assert version[1] not in {"1.82.7", "1.82.8", "1.107.0"}
    assert version[1] in yaml.safe_dump(yaml.safe_load((FOLDER / "peers.yaml").read_text()))


def test_the_network_is_only_changed_where_it_is_our_own():
    assert INSIDE not in os.environ
    assert not is_alone()


def test_events_have_their_right_charge_and_an_id_of_their_own():
    table = price_table()
    made = list(EventSource(Template("org", "proj", "sha256:0"), seed=3).make(300))
    assert len({event.event_id for event, _ in made}) == 300
    assert [event.started_at_us for event, _ in made] == sorted(event.started_at_us for event, _ in made)
    for event, charge in made:
        price = table.find(event.model, "", event.started_at_us)
        units = {
            "input": event.usage.input_tokens,
            "output": event.usage.output_tokens,
            "cache_read": event.usage.cache_read_tokens,
        }
        assert price.rate({name: count for name, count in units.items() if count}) == charge == event.charge_pico > 0


def test_a_percentile_is_the_value_that_so_many_do_not_exceed():
    values = list(range(1, 101))
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7], 0.99)) == (51, 100, 7)
