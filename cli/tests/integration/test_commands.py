"""Commands against a small HTTP server that stands for edge: what they send, print and exit with."""

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow.parquet as pq
import pytest
from cli.tests.fakes.replies import (
    ANSWER,
    BOOKS,
    CHANNEL,
    COSTS,
    DIFFERENCE,
    EVIDENCE,
    EXPLAINED,
    EXPORTED,
    KEY,
    LETTER,
    LETTER_BYTES,
    OWNER,
    REFUSED,
    REPLAYED,
    STREAM,
    TARGET,
    TENANTS,
    VIEW,
)

pytestmark = pytest.mark.integration


class Edge(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(b"")

    def do_PATCH(self):
        self.do_POST()

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers.get("content-length", 0))))

    def answer(self, body):
        server = self.server
        value = json.loads(body) if body.startswith(b"{") else body.decode() or None
        server.once = self.headers.get("idempotency-key")
        server.seen.append((self.command, self.path, self.headers.get("authorization"), value))
        status, reply = server.reply(self.command, self.path, value)
        data = reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def reply(server, method, path, body):
    if server.broken:
        return 401, {"error": {"message": "Unknown key.", "code": "invalid_api_key"}}
    route, _, query = path.partition("?")
    if route == "/api/v1/keys" and method == "GET":
        return 200, {"items": [KEY | {"id": "key_2"}], "next": None} if "cursor" in query else {
            "items": [KEY],
            "next": "c",
        }
    if route in {"/api/v1/organizations", "/api/v1/projects"} and method == "GET":
        known = [one for one in TENANTS[route] if not query or f"name={one['name']}" in query]
        return 200, {"items": known, "next": None}
    if route == "/v1/chat/completions":
        server.used += 1
        return 200, STREAM if body.get("stream") else {"choices": [{"message": {"content": "hi"}}]}
    return {
        "/healthz": (200, {}),
        "/readyz": (200, {"ready": True}),
        "/api/v1/keys": (201, KEY | {"key": "sk-tg-new"}),
        "/api/v1/keys/key_1/revoke": (200, KEY),
        "/api/v1/limits": (200, {"items": [OWNER], "next": None}),
        "/api/v1/limits/org_1": (200, OWNER),
        "/api/v1/organizations": (201, {"id": "org_2", "currency": "USD"}),
        "/api/v1/organizations/org_1/credit": (201, {"amount": "5", "balance": "7", "currency": "USD"}),
        "/api/v1/projects": (201, {"id": "proj_4"}),
        "/api/v1/usage": (200, {"requests": server.used, "rows": [{"model": "m", "requests": 3, "cost": "0.5"}]}),
        "/api/v1/requests": (200, {"items": [REFUSED, REFUSED | {"request_id": "req_2"}], "next": None}),
        "/api/v1/reconciliation": (200, server.books),
        "/api/v1/dead-letters": (200, {"items": [LETTER], "next": LETTER["id"]}),
        f"/api/v1/dead-letters/{LETTER['id']}": (200, LETTER | LETTER_BYTES),
        "/api/v1/dead-letters/replay": (200, server.replayed),
        "/api/v1/reconciliation/statements": (200, {"provider": "openai", "items": COSTS}),
        "/api/v1/requests/req_1": (200, EVIDENCE),
        "/api/v1/requests/req_1/link": (201, {"url": "https://gate/link", "expires_at": "2026-11-25"}),
        "/api/v1/usage/views": (200, {"items": [VIEW]}),
        "/api/v1/usage/views/spend_by_model": (200, ANSWER),
        "/api/v1/usage/sql": (200, ANSWER | {"truncated": True}),
        "/api/v1/usage/export": EXPORTED if "month=2026-10" in query else (400, {"error": {"message": "no month"}}),
        "/api/v1/usage/isolation": (200, {"statements": ["CREATE ROLE x", "GRANT y"], "run": False}),
        "/api/v1/balance": (200, {"currency": "USD", "wallet": "99.5"}),
        "/api/v1/router": (200, {"routers": [{"address": "unix:r", "channels": [CHANNEL]}, {"address": "unix:s"}]}),
        "/api/v1/channels/a/mode": (200, {"routers": [{"address": "unix:s", "reachable": False}]}),
        "/api/v1/routes/explain": (200, EXPLAINED | {"refusal": server.refusal}),
        "/v1/models": (200, {"data": [{"id": "m"}, {"id": "e-embed"}]}),
        "/v1/embeddings": (200, {"data": [{"embedding": [0.5, 0.5]}]}),
    }.get(route, (404, {"error": {"message": "no such page", "code": None}}))


@pytest.fixture
def edge():
    with ThreadingHTTPServer(("127.0.0.1", 0), Edge) as server:
        server.seen, server.broken, server.used, server.refusal = [], False, 3, None
        server.books = BOOKS
        server.replayed = REPLAYED
        server.reply = lambda *arguments: reply(server, *arguments)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield server
        server.shutdown()
        thread.join()


def tollgate(url, *arguments, **environment):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TOLLGATE_")}
    clean |= {"TOLLGATE_URL": url, "TOLLGATE_TOKEN": "pat", "TOLLGATE_API_KEY": "sk", "COLUMNS": "100"} | environment
    command = [sys.executable, "-m", "tollgate_cli", *arguments]
    return subprocess.run(command, env=clean, capture_output=True, text=True, timeout=180, check=False)


def test_organizations_and_projects(edge):
    assert "org_2" in tollgate(edge.url, "organizations", "create", "new").stdout
    assert edge.seen[-1][3] == {"name": "new", "currency": "USD"}
    given = tollgate(edge.url, "organizations", "credit", "acme", "5", "--reason", "why", "--idempotency-key", "once")
    assert given.stdout == "Added 5 USD. The balance is 7 USD.\n"
    assert edge.seen[-1][1:] == (
        *("/api/v1/organizations/org_1/credit", "Bearer pat", {"amount": "5", "reason": "why"}),
    )
    assert edge.once == "once"
    made = tollgate(edge.url, "projects", "create", "x", "--organization", "acme", "--route-group", "eu", "--json")
    assert json.loads(made.stdout) == {"id": "proj_4"}
    assert edge.seen[-1][3] == {"name": "x", "organization_id": "org_1", "route_group": "eu"}
    assert json.loads(tollgate(edge.url, "organizations", "list", "--json").stdout)["items"][0]["id"] == "org_1"
    assert "proj_2" in tollgate(edge.url, "projects", "list").stdout


def test_projects_are_named_by_name_or_id(edge):
    tollgate(edge.url, "keys", "create", "k", "--organization", "acme", "--project", "web")
    assert edge.seen[-1][3] == {"name": "k", "organization_id": "org_1", "project_id": "proj_1"}
    two = tollgate(edge.url, "keys", "create", "k", "--project", "twin")
    assert two.returncode == 1
    assert "--organization" in two.stderr
    assert edge.seen[-1][0] == "GET"


def test_keys(edge):
    made = tollgate(edge.url + "/v1/", "keys", "create", "laptop", "--project", "proj_1", "--json")
    assert json.loads(made.stdout)["key"] == "sk-tg-new"
    expected = {"name": "laptop", "project_id": "proj_1"}
    assert edge.seen[-1] == ("POST", "/api/v1/keys", "Bearer pat", expected)
    listed = json.loads(tollgate(edge.url, "keys", "list", "--json").stdout)
    assert [item["id"] for item in listed["items"]] == ["key_1", "key_2"]
    assert "key_2" in tollgate(edge.url, "keys", "list").stdout
    assert tollgate(edge.url, "keys", "revoke", "key_1").returncode == 0
    assert edge.seen[-1][:2] == ("POST", "/api/v1/keys/key_1/revoke")
    missing = tollgate(edge.url, "keys", "revoke", "a/b")
    assert edge.seen[-1][1] == "/api/v1/keys/a%2Fb/revoke"
    assert (missing.returncode, missing.stderr) == (1, "no such page\n")


def test_a_key_is_made_with_what_it_may(edge):
    flags = ["--model", "m", "--model", "n", "--endpoint", "chat", "--cidr", "203.0.113.0/24", "--expires"]
    before = datetime.now(UTC)
    assert tollgate(edge.url, "keys", "create", "k", *flags, "30d").returncode == 0
    sent = edge.seen[-1][3]
    expires = datetime.fromisoformat(sent.pop("expires_at"))
    assert timedelta(days=30, seconds=-1) <= expires - before <= timedelta(days=31)
    assert sent == {"name": "k", "models": ["m", "n"], "endpoints": ["chat"], "cidrs": ["203.0.113.0/24"]}
    assert tollgate(edge.url, "keys", "create", "k", *flags, "2099-12-31").returncode == 0
    assert edge.seen[-1][3]["expires_at"] == "2099-12-31T00:00:00"
    listed = tollgate(edge.url, "keys", "list").stdout
    assert "a, b" in listed
    assert "203.0.113.0/24" in listed
    for wrong in ("soon", "0d", "9999999d", "999999w"):
        refused = tollgate(edge.url, "keys", "create", "k", *flags, wrong)
        assert refused.returncode == 2
        assert "30d" in refused.stderr


def test_limits(edge):
    flags = ["--requests-per-minute", "60", "--concurrency", "0", "--budget", "25", "--budget-window", "day"]
    limits = {"requests_per_minute": 60, "concurrency": 0, "budget": {"amount": "25", "window": "day"}}
    assert tollgate(edge.url, "keys", "create", "ci", *flags).returncode == 0
    assert edge.seen[-1][3] == {"name": "ci", "limits": limits}
    changed = tollgate(edge.url, "limits", "set", "org_1", *flags, "--payment", "postpaid", "--json")
    assert json.loads(changed.stdout) == OWNER
    assert edge.seen[-1] == ("PATCH", "/api/v1/limits/org_1", "Bearer pat", limits | {"payment": "postpaid"})
    shown = tollgate(edge.url, "limits", "show", "org_1").stdout
    assert shown == tollgate(edge.url, "limits", "list").stdout
    assert shown.split("\n")[1].split() == ["org_1", "demo", "postpaid", "60", "5", "25", "month"]
    assert json.loads(tollgate(edge.url, "limits", "list", "--json").stdout) == {"items": [OWNER], "next": None}
    for nothing in (["set", "org_1"], ["set", "org_1", "--budget-window", "day"], ["show", "org_2"]):
        assert tollgate(edge.url, "limits", *nothing).returncode == 1
    assert tollgate(edge.url, "limits", "set", "org_1", "--concurrency", "-1").returncode == 2


def test_usage(edge):
    found = tollgate(edge.url, "usage", "--group-by", "model,day", "--from", "2026-11-01", "--json")
    assert json.loads(found.stdout)["requests"] == 3
    assert edge.seen[-1][1] == "/api/v1/usage?group_by=model%2Cday&from=2026-11-01"
    assert "3 requests" in tollgate(edge.url, "usage", "--organization", "acme").stdout
    assert edge.seen[-1][1] == "/api/v1/usage?group_by=model&organization_id=org_1"
    tollgate(edge.url, "usage", "--group-by", "tag", "--member", "ada", "--tag", "search", "--project", "p")
    assert edge.seen[-1][1] == "/api/v1/usage?group_by=tag&project_id=p&member=ada&tag=search"
    tollgate(edge.url, "requests", "--member", "ada", "--tag", "search")
    assert edge.seen[-1][1] == "/api/v1/requests?member=ada&tag=search&limit=20"


def test_usage_in_every_form(edge, tmp_path):
    plain = tollgate(edge.url, "usage", "view", "spend_by_model", "since=7d", "--organization", "org_1")
    assert plain.returncode == 0, plain.stderr
    assert edge.seen[-1][1] == "/api/v1/usage/views/spend_by_model?limit=1000&organization_id=org_1&since=7d"
    assert plain.stdout.split("\n")[0].split() == ["model", "at", "requests", "share", "charge", "units"]
    assert "2 rows" in plain.stdout
    as_csv = tollgate(edge.url, "usage", "view", "spend_by_model", "--csv").stdout.splitlines()
    assert as_csv[0] == "model,at,requests,share,charge,units"
    assert as_csv[2] == '"é, n",2026-11-02T00:00:00+00:00,1,,2,{}'
    as_json = json.loads(tollgate(edge.url, "usage", "view", "spend_by_model", "--json").stdout)
    assert as_json["rows"][0]["charge"] == "8.000000000001"
    chart = tollgate(edge.url, "usage", "view", "spend_by_model", "--chart", COLUMNS="60").stdout.splitlines()
    assert chart[0] == "charge, 2 rows"
    longer, shorter = (line.count("█") for line in chart[1:])
    assert longer == pytest.approx(4 * shorter, abs=4)
    assert longer > 4
    file = tmp_path / "x.parquet"
    made = tollgate(edge.url, "usage", "sql", "select 1", "--limit", "5", "--parquet", str(file))
    assert (made.returncode, made.stdout) == (0, f"2 rows written to {file}\n")
    assert "more rows" in made.stderr
    assert edge.seen[-1][3] == {"sql": "select 1", "limit": 5}
    rows = pq.read_table(file)
    assert [str(field.type) for field in rows.schema] == [
        "string", "timestamp[us, tz=UTC]", "int64", "double", "decimal128(38, 12)", "string",
    ]  # fmt: skip
    assert str(rows.to_pylist()[0]["charge"]) == "8.000000000001"
    assert rows.to_pylist()[1]["share"] is None
    sums = tollgate(edge.url, "usage", "--parquet", str(file))
    assert sums.returncode == 0
    assert pq.read_table(file).column_names[:2] == ["model", "requests"]
    assert tollgate(edge.url, "usage", "--csv").stdout == "model,requests\nm,3\n"
    assert "█" in tollgate(edge.url, "usage", "--chart").stdout


def test_usage_lists_views_exports_and_isolates(edge, tmp_path):
    listed = tollgate(edge.url, "usage", "views").stdout
    assert "spend_by_model" in listed
    assert "since=today channel" in listed
    assert json.loads(tollgate(edge.url, "usage", "views", "--json").stdout) == {"items": [VIEW]}
    file = tmp_path / "october.parquet"
    done = tollgate(edge.url, "usage", "export", "2026-10", "--organization", "acme", "--parquet", str(file))
    assert done.stdout == f"14 bytes written to {file}\n"
    assert file.read_text() == "PAR1 rows PAR1"
    assert edge.seen[-1][1] == "/api/v1/usage/export?month=2026-10&organization_id=org_1"
    statements = tollgate(edge.url, "usage", "isolation", "acme").stdout
    assert edge.seen[-1][1] == "/api/v1/usage/isolation?organization_id=org_1"
    assert statements.splitlines()[1:] == ["CREATE ROLE x;", "GRANT y;"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--json", "--csv"], 2, "exclude each other"),
        (["view", "spend_by_model", "since"], 2, "NAME=VALUE"),
        (["view", "spend_by_model", "organization=org_1"], 2, "--organization"),
        (["view", "../keys"], 2, "no name of a view"),
        (["view", "nothing"], 1, "no such page"),
        (["view"], 2, "Missing argument"),
        (["view", "spend_by_model", "--limit", "0"], 2, "limit"),
        (["sql"], 2, "Missing argument"),
        (["sql", "select 1", "--parquet", "/nowhere/x.parquet"], 1, "cannot be written"),
        (["export", "2026-11", "--parquet", "x.parquet"], 1, "no month"),
        (["export", "2026-10", "--parquet", "/nowhere/x.parquet"], 1, "cannot be written"),
        (["export", "2026-10"], 2, "--parquet"),
    ],
)
def test_usage_says_what_is_wrong(edge, words, code, says, tmp_path):
    failed = tollgate(edge.url, "usage", *words)
    assert failed.returncode == code, failed.stderr
    assert says in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr


def test_channels(edge):
    listed = json.loads(tollgate(edge.url, "channels", "list", "--json").stdout)
    assert [(item["channel"], item["router"]) for item in listed["items"]] == [("a", "unix:r")]
    assert "key 1: benched" in tollgate(edge.url, "channels", "list").stdout
    for command, mode in (("drain", "draining"), ("disable", "disabled"), ("enable", "enabled")):
        reason = [] if command == "enable" else ["--reason", "moving"]
        done = tollgate(edge.url, "channels", command, "a", *reason)
        assert done.returncode == 0
        assert f"a is {mode}." in done.stdout
        assert "unix:s does not answer" in done.stdout
        body = {"mode": mode, "reason": "" if command == "enable" else "moving"}
        assert edge.seen[-1] == ("POST", "/api/v1/channels/a/mode", "Bearer pat", body)
    assert tollgate(edge.url, "channels", "drain", "nobody").returncode == 1


def test_route_explain(edge, tmp_path):
    body = tmp_path / "request.json"
    body.write_text('{"messages": []}')
    options = ["--key", "key_1", "--body", str(body), "--header", "X-Session: 7"]
    options += ["--operation", "embeddings", "--dialect", "gemini"]
    found = tollgate(edge.url, "route", "explain", "m", *options, "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["routers"][0]["explanation"]["targets"][0] == TARGET
    assert edge.seen[-1][3] == {
        "model": "m",
        "key_id": "key_1",
        "request": {"messages": []},
        "headers": {"X-Session": "7"},
        "operation": "embeddings",
        "dialect": "gemini",
    }
    shown = tollgate(edge.url, "route", "explain", "m").stdout
    assert "bound by user, which this request has no value for; needs tools; falls back to other for error" in shown
    assert "benched: no balance" in shown
    assert "m for the route group default; chat in openai-responses\n" in shown
    assert "and 3 more" in shown
    assert "unix:s: does not answer" in shown
    edge.refusal = "The key is revoked."
    refused = tollgate(edge.url, "route", "explain", "m")
    assert (refused.returncode, refused.stderr) == (1, "The key is revoked.\n")
    refused = json.loads(tollgate(edge.url, "route", "explain", "m", "--json").stdout)["error"]
    assert (refused["message"], refused["details"]["model"]) == ("The key is revoked.", "m")
    for wrong in (["--body", str(tmp_path / "none")], ["--header", "x"]):
        assert tollgate(edge.url, "route", "explain", "m", *wrong).returncode == 2
    body.write_text("[]")
    assert tollgate(edge.url, "route", "explain", "m", "--body", str(body)).returncode == 2


def test_refused_and_unreachable(edge):
    edge.broken = True
    refused = tollgate(edge.url, "usage", "--json")
    assert refused.returncode == 1
    assert "Unknown key" in json.loads(refused.stdout)["error"]["message"]
    edge.server_close()
    away = tollgate("http://127.0.0.1:1", "usage")
    assert away.returncode == 3
    assert "does not answer" in away.stderr
    assert tollgate("http://127.0.0.1:1", "doctor", "--json").returncode == 3
    assert tollgate(edge.url, "usage", TOLLGATE_TOKEN="").returncode == 1


def test_usage_errors_and_the_version():
    for arguments in (["nonsense"], ["up", "--workers", "0"], ["keys", "create"], ["up", "--port", "99999"]):
        assert tollgate("", *arguments).returncode == 2
    assert json.loads(tollgate("", "version", "--json").stdout)["version"]


def test_no_product_in_a_home(tmp_path):
    for command in (["usage"], ["keys", "list"], ["doctor"]):
        away = tollgate("", *command, "--home", str(tmp_path))
        assert away.returncode == 3
        assert "tollgate up" in away.stderr


def test_doctor(edge):
    healthy = tollgate(edge.url, "doctor", "--json")
    report = json.loads(healthy.stdout)
    assert (healthy.returncode, report["ok"]) == (0, True)
    states = {item["check"]: item["state"] for item in report["checks"]}
    assert {
        "reachable",
        "ready",
        "clock",
        "token",
        "channels",
        "models",
        "balance",
        "chat",
        "stream",
        "embeddings",
        "usage",
    } == set(states)
    assert set(states.values()) == {"ok", "warning"}
    # One of its keys is benched, so that the channel is used and yet not whole.
    assert [(item["check"], item["found"]) for item in report["checks"] if item["state"] == "warning"] == [
        ("channels", "a: key 1: benched")
    ]
    quiet = json.loads(tollgate(edge.url, "doctor", "--no-requests", "--json").stdout)
    assert "chat" not in {item["check"] for item in quiet["checks"]}
    edge.broken = True
    ill = tollgate(edge.url, "doctor")
    assert ill.returncode == 1
    assert "TOLLGATE_TOKEN" in ill.stdout
    # One document, as when all is well.
    told = tollgate(edge.url, "doctor", "--json")
    assert (told.returncode, json.loads(told.stdout)["ok"], told.stderr) == (1, False, "")


def test_requests_and_evidence(edge):
    shown = tollgate(edge.url, "requests", "--outcome", "refused", "--http-status", "429", "--organization", "acme")
    assert "req_1" in shown.stdout
    assert "429 insufficient_quota" in shown.stdout
    asked = edge.seen[-1][1]
    assert all(part in asked for part in ("outcome=refused", "http_status=429", "organization_id=org_1", "limit=20"))
    page = tollgate(edge.url, "evidence", "req_1")
    assert page.returncode == 0, page.stderr
    for part in (
        *("key_1 (laptop) ends in abcd", "The balance is too low.", "computed again: 0.3 USD, as charged"),
        *("ledger: wallet to revenue 0.9 USD for 3 events", "fell back for error", "benched", "taken back"),
    ):
        assert part in page.stdout, part
    made = tollgate(edge.url, "evidence", "req_1", "--link", "--expires", "2h")
    assert "https://gate/link" in made.stdout
    assert edge.seen[-1][3] == {"expires_in_seconds": 7200}
    assert tollgate(edge.url, "evidence", "req_1", "--link", "--expires", "never").returncode == 2
    several = tollgate(edge.url, "evidence", "ab" * 16)
    assert (several.returncode, "2 requests" in several.stderr) == (1, True)


def test_books_that_agree_and_books_that_do_not(edge):
    sound = tollgate(edge.url, "reconcile", "--from", "2026-11-01")
    assert (sound.returncode, edge.seen[-1][1]) == (0, "/api/v1/reconciliation?from=2026-11-01")
    for part in ("9 rows in 3 batches", "1 events are on their way", "unix:s does not answer", "agree"):
        assert part in sound.stdout
    edge.books = BOOKS | {"agree": False, "differences": [DIFFERENCE], "cut": 2}
    wrong = tollgate(edge.url, "reconcile")
    assert wrong.returncode == 1
    for part in ("req_1, req_2, req_3 and 1 more", "e/t/0/1-2", "the ledger 1", "and 2 more", "charge: look there"):
        assert part in wrong.stdout
    assert "3 differences" in wrong.stderr
    scripted = tollgate(edge.url, "reconcile", "--json")
    assert (scripted.returncode, json.loads(scripted.stdout)["error"]["details"]["cut"]) == (1, 2)


def test_a_statement_of_a_provider(edge, tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text("start_time,amount_value\n1,2\n")
    wrong = tollgate(edge.url, "reconcile", "--statement", str(file))
    assert edge.seen[-1][1] == "/api/v1/reconciliation/statements?provider=openai"
    assert edge.seen[-1][3] == file.read_text()
    assert (wrong.returncode, "differs" in wrong.stdout, "1 of 1 differ" in wrong.stderr) == (1, True, True)
    near = tollgate(edge.url, "reconcile", "--statement", str(file), "--tolerance", "2")
    assert (near.returncode, "agree within 2 percent" in near.stdout) == (0, True)
    assert tollgate(edge.url, "reconcile", "--statement", str(tmp_path / "none")).returncode == 2


def test_dead_letters_are_listed_shown_and_replayed(edge):
    listed = tollgate(edge.url, "dlq", "list", "--limit", "1")
    assert (listed.returncode, edge.seen[-1][1]) == (0, "/api/v1/dead-letters?limit=1")
    for part in (LETTER["id"], "ready", "req_1", "started an hour ahead", f"--cursor {LETTER['id']}"):
        assert part in listed.stdout
    shown = tollgate(edge.url, "dlq", "show", LETTER["id"])
    for part in ("partition 0, offset 17", "now: ready", "AAEC", '"request_id": "req_1"'):
        assert part in shown.stdout
    done = tollgate(edge.url, "dlq", "replay", LETTER["id"])
    assert (done.returncode, edge.seen[-1][3]) == (0, {"ids": [LETTER["id"]]})
    assert f"{LETTER['id']}: sent" in done.stdout
    edge.replayed = {"sent": 0, "unusable": 1, "items": [LETTER | {"state": "unusable", "problem": "no message"}]}
    refused = tollgate(edge.url, "dlq", "replay", "--all")
    assert (refused.returncode, edge.seen[-1][3]) == (1, {"all": True})
    assert "unusable, no message" in refused.stdout
    assert "1 letters still cannot be booked" in refused.stderr
    assert tollgate(edge.url, "dlq", "replay").returncode == 2
    assert tollgate(edge.url, "dlq", "replay", "--all", LETTER["id"]).returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("prices", "check", "none.yaml"),
        ("prices", "diff", "none.yaml", "none.yaml"),
        ("prices", "import", "--format", "litellm", "none.yaml"),
        ("rates", "check", "none.yaml"),
        ("keys", "import", "none.yaml"),
        ("reconcile", "--statement", "none.yaml"),
        ("route", "explain", "gpt-5", "--body", "none.yaml"),
    ],
    ids=" ".join,
)
def test_a_file_that_is_not_there_is_wrong_usage(edge, arguments, tmp_path):
    refused = tollgate(edge.url, *arguments)
    assert refused.returncode == 2, refused.stderr
    assert "none.yaml cannot be read: No such file or directory." in refused.stderr
