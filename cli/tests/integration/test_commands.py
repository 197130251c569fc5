"""Commands against a small HTTP server that stands for edge: what they send, print and exit with."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = pytest.mark.integration
KEY = {"id": "key_1", "name": "laptop", "last_four": "abcd", "models": None}
LIMITS = {"requests_per_minute": 60, "tokens_per_minute": None, "concurrency": 5}
OWNER = {"id": "org_1", "name": "demo", "payment": "postpaid", "limits": LIMITS}
OWNER["limits"]["budget"] = {"amount": "25", "window": "month"}
STREAM = 'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n'


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
        value = json.loads(body) if body else None
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
        "/api/v1/usage": (200, {"requests": server.used, "rows": [{"model": "m", "requests": 3, "cost": "0.5"}]}),
        "/api/v1/balance": (200, {"currency": "USD", "wallet": "99.5"}),
        "/v1/models": (200, {"data": [{"id": "m"}, {"id": "e-embed"}]}),
        "/v1/embeddings": (200, {"data": [{"embedding": [0.5, 0.5]}]}),
    }.get(route, (404, {"error": {"message": "no such page", "code": None}}))


@pytest.fixture
def edge():
    with ThreadingHTTPServer(("127.0.0.1", 0), Edge) as server:
        server.seen, server.broken, server.used = [], False, 3
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
    return subprocess.run(command, env=clean, capture_output=True, text=True, timeout=60, check=False)


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
    assert "3 requests" in tollgate(edge.url, "usage").stdout


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


def test_usage_errors_and_help():
    for arguments in (["nonsense"], ["up", "--workers", "0"], ["keys", "create"], ["up", "--port", "99999"]):
        assert tollgate("", *arguments).returncode == 2
    keys = [["keys", name] for name in ("create", "list", "revoke")]
    limits = [["limits", name] for name in ("list", "show", "set")]
    for command in (["up"], ["down"], ["doctor"], *keys, *limits, ["usage"]):
        text = tollgate("", *command, "--help").stdout
        assert f"\n  tollgate {' '.join(command)}" in text or f"... tollgate {' '.join(command)}" in text, text
        assert "--json" in text
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
        "models",
        "balance",
        "chat",
        "stream",
        "embeddings",
        "usage",
    } == set(states)
    assert set(states.values()) == {"ok"}
    quiet = json.loads(tollgate(edge.url, "doctor", "--no-requests", "--json").stdout)
    assert "chat" not in {item["check"] for item in quiet["checks"]}
    edge.broken = True
    ill = tollgate(edge.url, "doctor")
    assert ill.returncode == 1
    assert "TOLLGATE_TOKEN" in ill.stdout
