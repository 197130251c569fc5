"""What the benchmarks rest on: other people's programs are pinned, get nothing of ours, and are counted whole."""

import contextlib
import json
import os
import re
import socket
import sys
import threading
import urllib.request
from dataclasses import replace

import pytest
import yaml
from benchmarks import beside, workloads
from benchmarks.costs import highest_rate, search_rate
from benchmarks.events import EventSource, Template, price_table
from benchmarks.machine import percentile
from benchmarks.native import NoCompiler, build, run_load, running_upstream
from benchmarks.peers.alone import INSIDE, is_alone
from benchmarks.peers.declared import FOLDER, ROOT, CannotGet, Peer, get, load_peers
from benchmarks.peers.running import PeerFailed, started
from benchmarks.peers.turns import Turns
from benchmarks.processes import forget_peak, peak_bytes, resident_bytes
from benchmarks.product import NoTree, running
from benchmarks.results import Results
from benchmarks.subject import Subject, descendants
from benchmarks.workloads import CHUNKS, HUGE, MIDDLE, PACED, SMALL, STREAM, Bench, NotWhole, request_of
from tests.servers.process import Child, unavailable

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


# A product that says which tree it is of, what it was given, and runs until it is stopped.
TELLING = """
import json, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
found = {"base_url": "http://127.0.0.1:9/v1", "api_key": __file__, "admin_key": os.environ["TOLLGATE_EDGE_SPOOL"]}
with open(sys.argv[sys.argv.index("--ready-file") + 1], "w") as ready:
    json.dump(found | {"processes": {}, "pid": os.getpid()}, ready)
signal.pause()
"""


def test_another_checkout_runs_its_own_code_with_its_own_settings(tmp_path):
    package = tmp_path / "tree" / "cli" / "src" / "tollgate_cli"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(TELLING)
    with running(tmp_path / "home", root=tmp_path / "tree", TOLLGATE_EDGE_SPOOL="here") as product:
        assert (product.api_key, product.admin_key) == (str(package / "__main__.py"), "here")


def test_a_directory_that_is_no_checkout_is_named(tmp_path, capsys):
    with pytest.raises(NoTree, match=str(tmp_path)), running(tmp_path / "home", root=tmp_path):
        pass
    assert beside.main([str(tmp_path)]) == 2
    assert "is no checkout of Tollgate" in capsys.readouterr().out
    for wrong in (["x", "--set", "NAME"], ["x", "--workload", "huge"]):
        with pytest.raises(SystemExit):
            beside.main(wrong)


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


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("programs")
    try:
        build(directory)
    except NoCompiler:
        unavailable("The programs of the benchmarks", "install a C compiler (Debian: gcc libc6-dev)")
    return directory


@pytest.fixture
def upstream(programs):
    with running_upstream(programs, CHUNKS) as (port, _):
        yield port


def request_file(directory, workload):
    path = directory / "request"
    path.write_bytes(request_of(workload, "gpt-5-mini", {}))
    return path


@pytest.mark.parametrize("workload", [SMALL, HUGE, STREAM], ids=lambda one: one.name)
def test_the_load_client_finds_every_answer_of_the_upstream_whole(programs, upstream, tmp_path, workload):
    request = request_file(tmp_path, workload)
    found = run_load(programs, upstream, request, connections=4, requests=20, events=workload.events)
    assert (found.good, found.failed, found.events) == (20, 0, 20 * workload.events)


def test_the_upstream_refuses_a_body_that_was_cut(programs, upstream, tmp_path):
    request = tmp_path / "request"
    request.write_bytes(b'POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n{"model":')
    found = run_load(programs, upstream, request, requests=3)
    assert (found.good, found.bad_status, found.last_status) == (0, 3, 400)


def test_a_window_is_marked_and_counts_gaps_of_paced_streams(programs, upstream, tmp_path):
    marks = []
    request = request_file(tmp_path, PACED[0])
    found = run_load(
        programs, upstream, request, connections=4, events=CHUNKS + 1, window=0.5, marked=lambda: marks.append(1)
    )
    assert len(marks) == 2
    assert found.events > 4
    # The upstream sleeps to times that it fixed with the first chunk: more than that many cannot have come.
    assert found.events <= 4 * 27
    assert found.gap_max_ms > 10
    assert found.open == 4


def test_keys_of_equal_length_take_turns_and_answers_that_fail_are_raised(programs, upstream):
    bench = Bench(programs, upstream, 0)
    found = bench.load(bench.upstream, SMALL, 8, keys=["sk-1", "sk-2"], connections=2)
    assert (found.good, found.open) == (8, 0)
    request = (programs / "load.request").read_bytes()
    assert (request.count(b"Bearer sk-1"), request.count(b"Bearer sk-2")) == (1, 1)
    wrong = replace(bench.upstream, events=66)
    with pytest.raises(NotWhole, match="upstream"):
        bench.load(wrong, STREAM, 4)
    assert bench.load(wrong, STREAM, 4, strict=False).not_whole == 4


@pytest.mark.parametrize(
    ("most", "found"),
    [(0, 0), (249, 0), (250, 250), (999, 937), (2_000, 2_000), (7_300, 7_000), (8_000, 8_000), (10**9, 16_000)],
)
def test_the_highest_rate_is_found_in_few_tries(most, found):
    asked = []
    assert search_rate(lambda rate: asked.append(rate) or rate <= most) == found
    assert len(asked) == len(set(asked)) <= 7


def test_a_rate_is_borne_only_when_all_is_answered_whole_and_in_time(programs, upstream, monkeypatch):
    bench = Bench(programs, upstream, 0)
    monkeypatch.setattr(workloads, "OPEN_LOOP_REQUESTS", 40)
    monkeypatch.setattr(workloads, "RATE_P99_MS", 1e9)
    borne, found = bench.bears(bench.upstream, 200)
    assert (borne, found.good) == (True, 400)
    refused = replace(bench.upstream, headers={"content-length": "9"})
    borne, found = bench.bears(refused, 200)
    assert (borne, found.bad_status) == (False, 400)
    monkeypatch.setattr(workloads, "RATE_P99_MS", 0.0)
    assert not bench.bears(bench.upstream, 200)[0]


def test_a_rate_that_failed_by_chance_has_a_second_try(programs, upstream, capsys):
    asked = []

    class Once(Bench):
        def bears(self, asked_of, rate):
            asked.append(rate)
            found = self.load(asked_of, SMALL, 1)
            # The first is a pause of the machine, those above 2,000 are the product's.
            return len(asked) > 1 and rate <= 2000, found

    bench, results = Once(programs, upstream, 0), Results("benchmarks")
    highest_rate(bench, results, Asked(bench.upstream))
    (row,) = results.rows("rates")
    assert row["rate"] == 2000
    assert [(one["rate"], one["borne"]) for one in results.rows("rates tried")][:4] == [
        (2000, False),
        (2000, True),
        (4000, False),
        (4000, False),
    ]
    assert "2000 requests/s\n" in capsys.readouterr().out


class Asked:
    """A product whose every request goes to one place."""

    def __init__(self, place):
        self.subject = lambda: place


# Answers what is short as the upstream would, and refuses what is long.
REFUSING = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        size = int(self.headers["content-length"])
        self.rfile.read(size)
        self.send_response(413 if size > 50_000 else 200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64
server = Server(("127.0.0.1", 0), Handler)
sys.stdout.write(str(server.server_address[1]))
sys.stdout.flush()
server.serve_forever()
"""


def test_a_peer_that_refuses_large_bodies_is_left_out_of_those_only(programs, upstream, tmp_path):
    child = Child([sys.executable, "-c", REFUSING], tmp_path / "log")
    child.start(lambda: child.tail().strip().isdigit())
    try:
        results = Results("benchmarks.peers")
        turns = Turns(Bench(programs, upstream, 0), results, [], [MIDDLE.name, HUGE.name])
        for name in ("refusing", "tollgate"):
            subject = Subject(name, int(child.tail().strip()), {}, "gpt-5-mini", [child.pid])
            if name == "refusing":
                for number in range(2):
                    turns.measure([subject], number, 0.01)
            else:
                # Of ours it would be an error, and nothing to be left out for.
                with pytest.raises(NotWhole):
                    turns.measure([subject], 0, 0.01)
    finally:
        child.kill()
    measured = [(row["gateway"], row["workload"]) for row in results.rows("requests")]
    assert measured == [("refusing", MIDDLE.name)] * 2 + [("tollgate", MIDDLE.name)]
    assert list(turns.left_out) == [("refusing", HUGE.name)]
    assert "last_status=413" in turns.left_out["refusing", HUGE.name]


def test_the_peak_of_a_process_can_be_forgotten(tmp_path):
    body = "held = bytearray(80_000_000)\ndel held\nprint('done', flush=True)\nimport time\ntime.sleep(60)"
    child = Child([sys.executable, "-c", body], tmp_path / "log")
    child.start(lambda: "done" in child.tail())
    try:
        assert peak_bytes(child.pid) - resident_bytes(child.pid) > 70_000_000
        forget_peak(child.pid)
        assert peak_bytes(child.pid) - resident_bytes(child.pid) < 1_000_000
    finally:
        child.kill()


@contextlib.contextmanager
def answering(serve):
    """Gives one connection after the other to `serve`; yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(ConnectionError):
                    serve(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # Wakes the thread, which closing alone does not.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def test_requests_of_a_file_take_turns(programs, tmp_path):
    seen = []

    def serve(connection):
        while head := connection.recv(4096):
            seen.append(head[-5:-4])
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    request = tmp_path / "request"
    request.write_bytes(b"".join(b"GET / HTTP/1.1\r\nkey: %d\r\n\r\n" % number for number in range(3)))
    with answering(serve) as port:
        found = run_load(programs, port, request, requests=6, variants=3)
    assert (found.good, seen) == (6, [b"0", b"1", b"2"] * 2)


EVENT = b"6\r\ndata:x\r\n1\r\n\n\r\n"
DONE = b"d\r\ndata: [DONE]\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (EVENT * 3 + DONE, (1, 0, 0)),
        (EVENT * 2 + DONE, (0, 1, 0)),
        (EVENT * 4 + DONE, (0, 1, 0)),
        (EVENT * 3 + b"0\r\n\r\n", (0, 1, 0)),
        (EVENT * 3, (0, 0, 1)),
        (EVENT * 3 + DONE[:-2], (0, 0, 1)),
        (b"", (0, 0, 1)),
    ],
    ids=["whole", "one short", "one twice", "no [DONE]", "cut", "cut at its end", "only a head"],
)
def test_the_load_client_notices_a_stream_that_is_not_whole(programs, tmp_path, body, seen):
    def serve(connection):
        if connection.recv(4096):
            connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body)

    request = tmp_path / "request"
    request.write_bytes(b"GET / HTTP/1.1\r\n\r\n")
    with answering(serve) as port:
        found = run_load(programs, port, request, requests=1, events=3)
    assert (found.good, found.not_whole, found.broken) == seen
