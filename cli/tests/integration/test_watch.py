"""When the product counts as serving, told by small servers that stand for its processes."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tollgate_cli.home import Home, write_json
from tollgate_cli.supervisor.spec import Spec
from tollgate_cli.supervisor.watch import PATIENCE_SECONDS, Watch

pytestmark = pytest.mark.integration


class Answers(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        data = json.dumps(self.server.readiness).encode()
        self.send_response(503 if self.server.readiness["missing"] else 200)
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def watched(tmp_path):
    """A watch over an edge and a router, their servers by name, what was said, and a clock that the test moves."""
    servers = {name: ThreadingHTTPServer(("127.0.0.1", 0), Answers) for name in ("edge", "router")}
    for server in servers.values():
        server.readiness = {"missing": [], "config_digest": "sha256:new"}
        threading.Thread(target=server.serve_forever).start()
    home = Home(tmp_path)
    write_json(home.bootstrap, {"api_key": None, "admin_key": "pat"})
    specs = [Spec(name, name, (), {}, address=f"127.0.0.1:{one.server_address[1]}") for name, one in servers.items()]
    said, now = [], [0.0]
    yield Watch(specs, home, servers["edge"].server_address[1], said.append, lambda: now[0]), servers, said, now
    for server in servers.values():
        server.shutdown()
        server.server_close()


def test_serves_when_all_are_ready_with_one_configuration(watched):
    watch, servers, _, now = watched
    servers["router"].readiness = {"missing": ["no configuration"], "config_digest": ""}
    assert not watch.turn()
    # It started from the copy that an earlier run left.
    servers["router"].readiness = {"missing": [], "config_digest": "sha256:old"}
    assert not watch.turn()
    assert watch.missing == {}
    servers["router"].readiness = {"missing": [], "config_digest": "sha256:new"}
    assert watch.turn()
    assert watch.succeeded
    assert now == [0.0]


def test_serves_without_one_that_never_takes_the_configuration(watched):
    watch, servers, said, now = watched
    servers["router"].readiness = {"missing": [], "config_digest": "sha256:old"}
    assert not watch.turn()
    now[0] = PATIENCE_SECONDS + 1
    assert watch.turn()
    assert watch.succeeded
    assert said[-1] == "router is not ready yet: it has not taken the current configuration"


def test_processes_that_do_not_name_a_configuration_are_not_waited_for(watched):
    watch, servers, _, _ = watched
    servers["router"].readiness = {"missing": []}
    assert watch.turn()
