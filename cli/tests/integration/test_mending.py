"""`tollgate usage refill`, `rebuild` and `take-back` against a small HTTP server: what they send, print, exit with."""

import json
import threading
from http.server import ThreadingHTTPServer

import pytest
from cli.tests.fakes.replies import DIFFERENCE
from cli.tests.integration.test_commands import Edge, tollgate

pytestmark = pytest.mark.integration

SLICES = [
    {"rollup": "hour", "from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z", "differed": 2},
    {"rollup": "hour", "from": "2026-11-02T00:00:00Z", "to": "2026-11-03T00:00:00Z", "differed": 0},
]
READ = {"step": "read", "records": 5, "batches": 2, "copies": 0, "missing": 1, "unfit": 0}
READ |= {"sums": 0, "letters": 0, "mismatches": 0}
DONE = READ | {
    "step": "done",
    "records": 9,
    "copies": 6,
    "missing": 7,
    "unfit": 2,
    "sums": 3,
    "letters": 1,
    "kept": [{"partition": 0, "offset": 4, "at": "2026-11-01"}],
    "not_rebuilt": [],
    "cut": 0,
}


@pytest.fixture
def edge():
    with ThreadingHTTPServer(("127.0.0.1", 0), Edge) as server:
        server.seen, server.lines, server.status = [], [], 200
        server.reply = lambda *_: (server.status, "".join(f"{json.dumps(one)}\n" for one in server.lines))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield server
        server.shutdown()
        thread.join()


def test_sums_are_made_again_and_said(edge):
    edge.lines = SLICES
    made = tollgate(edge.url, "usage", "refill", "hour", "--from", "2026-11-01", "--dry-run")
    assert made.returncode == 0, made.stderr
    assert edge.seen[-1][1] == "/api/v1/usage/rollups/refill"
    assert edge.seen[-1][3] == {"rollup": "hour", "from": "2026-11-01", "dry_run": True}
    assert "2 sums were not what their rows say; those of 2 slices of time would be made again." in made.stdout
    scripted = json.loads(tollgate(edge.url, "usage", "refill", "--json").stdout)
    assert (scripted["differed"], scripted["slices"], scripted["dry_run"]) == (2, SLICES, False)
    assert edge.seen[-1][3] == {"dry_run": False}
    edge.lines = []
    assert "Nothing of that time is kept" in tollgate(edge.url, "usage", "refill").stdout


def test_a_rebuild_says_what_it_did_and_what_it_could_not(edge):
    edge.lines = [READ, DONE]
    sound = tollgate(edge.url, "usage", "rebuild", "--to", "2026-11-02")
    assert sound.returncode == 0, sound.stderr
    assert edge.seen[-1][1:] == ("/api/v1/usage/rebuild", "Bearer pat", {"to": "2026-11-02", "dry_run": False})
    for part in (
        "keeps records from 4, 2026-11-01, on",
        "6 rows were inserted again beside those of the same events, and were taken away",
        "7 rows were missing, 5 of them were written again",
        "2 were left out",
        "1 dead letters and 0 mismatches",
        "3 sums by minute",
    ):
        assert part in sound.stdout, part
    assert json.loads(tollgate(edge.url, "usage", "rebuild", "--json").stdout) == DONE | {"dry_run": False}
    dry = tollgate(edge.url, "usage", "rebuild", "--dry-run").stdout
    assert ("would be written again" in dry, "sums by minute" in dry) == (True, False)
    assert "would be taken away" in dry
    edge.lines = [DONE | {"not_rebuilt": [DIFFERENCE], "cut": 2}]
    left = tollgate(edge.url, "usage", "rebuild")
    assert (left.returncode, "3 lines of batches could not be rebuilt" in left.stderr) == (1, True)
    assert "e/t/0/1-2" in left.stdout
    scripted = json.loads(tollgate(edge.url, "usage", "rebuild", "--json").stdout)
    assert scripted["error"]["details"]["not_rebuilt"] == [DIFFERENCE]


def test_what_breaks_off_or_is_refused_is_told(edge):
    edge.lines = [READ, {"error": {"message": "usage is being rebuilt already", "code": None}}]
    broken = tollgate(edge.url, "usage", "rebuild")
    assert (broken.returncode, "usage is being rebuilt already" in broken.stderr) == (1, True)
    edge.lines = [READ]
    assert "ended without a word" in tollgate(edge.url, "usage", "rebuild").stderr
    edge.status, edge.lines = 400, [{"error": {"message": "'rollup' takes minute, hour, day", "code": None}}]
    refused = tollgate(edge.url, "usage", "refill", "week")
    assert (refused.returncode, "'rollup' takes" in refused.stderr) == (1, True)


def test_second_charges_are_shown_and_taken_back(edge):
    row = {"request_id": "req_1", "organization_id": "org_1", "project_id": "prj", "model": "m", "currency": "USD"}
    row |= {"charge": "0.00006", "charge_pico": 60_000_000, "cost": "0.00003", "cost_pico": 30_000_000}
    found = {"applied": False, "sent": 0, "rows": [row], "more": False, "left_out": {}}
    edge.lines = [found]
    shown = tollgate(edge.url, "usage", "take-back", "--from", "2026-11-01")
    assert shown.returncode == 0, shown.stderr
    assert edge.seen[-1][1:] == ("/api/v1/usage/take-back", "Bearer pat", {"from": "2026-11-01", "apply": False})
    assert ("req_1" in shown.stdout, "--apply takes them back" in shown.stdout) == (True, True)
    edge.lines = [found | {"applied": True, "sent": 1, "more": True, "left_out": {"too_old": 2}}]
    done = tollgate(edge.url, "usage", "take-back", "--apply").stdout
    for part in (
        "1 second charges are taken back",
        "2 second charges stay: they began more than 89",
        "more than these",
    ):
        assert part in done, part
    assert json.loads(tollgate(edge.url, "usage", "take-back", "--json").stdout)["sent"] == 1
    edge.lines = [found | {"rows": []}]
    assert "No request was charged twice." in tollgate(edge.url, "usage", "take-back").stdout
