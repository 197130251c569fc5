"""The supervisor with tiny processes: restarts, refusals and stops."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tollgate_cli.supervisor.journal import Journal
from tollgate_cli.supervisor.loop import LAST_STOP_SECONDS, STOP_SECONDS, Supervisor
from tollgate_cli.supervisor.ports import NoPort, listen
from tollgate_cli.supervisor.spec import Spec

pytestmark = pytest.mark.integration

# Each prints its pid; the first ends on SIGTERM, the second ignores it.
GOOD = "import os,signal,time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(600)"
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + GOOD
BAD = "import sys\nprint('the reason', flush=True)\nsys.exit(7)"
WRONG = "import sys\nprint('TOLLGATE_X: bad value', flush=True)\nsys.exit(2)"


def spec(name, code, **more):
    return Spec(name, name, (sys.executable, "-S", "-c", code), {}, **more)


class Told:
    def __init__(self):
        self.events = []

    def restarted(self, name, how):
        self.events.append(("restarted", name, how))

    def failed(self, name, how):
        self.events.append(("failed", name, how))

    def stopping(self):
        self.events.append(("stopping",))


class Signal:
    """A watcher that is told by the test that the product serves."""

    finished = succeeded = False

    def __init__(self):
        self.begun = threading.Event()

    def begin(self, wake):
        self.wake = wake
        self.begun.set()

    def end(self):
        pass

    def serve(self, *, succeeded=True):
        assert self.begun.wait(60)
        self.succeeded = succeeded
        self.finished = True
        self.wake()


class Running:
    """Runs a supervisor in the test's main thread, since signals arrive there; a script runs beside it."""

    def __init__(self, tmp_path, specs):
        self.journal = Journal(tmp_path, [one.name for one in specs], None, colour=False)
        self.told, self.watch, self.announced = Told(), Signal(), []
        self.supervisor = Supervisor(specs, self.journal, self.told, self.watch, self.announced.append)
        self.errors = []

    def run(self, script):
        def beside():
            try:
                script(self)
            except BaseException as error:  # noqa: BLE001 - it is raised again in the test's own thread.
                self.errors.append(error)
                os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=beside)
        thread.start()
        code = self.supervisor.run()
        thread.join()
        self.journal.close()
        if self.errors:
            raise self.errors[0]
        return code

    def until(self, condition):
        deadline = time.monotonic() + 120
        while not (found := condition()):
            assert time.monotonic() < deadline, self.told.events
            time.sleep(0.01)
        return found

    def pids(self, name, count=1):
        def found():
            lines = [line.split()[1] for line in self.journal.tail(name) if line.startswith("pid")]
            return [int(pid) for pid in lines] if len(lines) >= count else []

        return self.until(found)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def stop():
    os.kill(os.getpid(), signal.SIGINT)


def test_whoever_does_not_stop_is_killed_within_the_five_seconds_that_are_promised():
    assert STOP_SECONDS + LAST_STOP_SECONDS < 5


def test_serves_restarts_what_dies_and_stops(tmp_path):
    running = Running(tmp_path, [spec("one", GOOD), spec("two", GOOD)])

    def script(it):
        (first,) = it.pids("one")
        it.watch.serve()
        it.until(lambda: it.announced)
        os.kill(first, signal.SIGKILL)
        second = it.pids("one", 2)[-1]
        it.until(lambda: len(it.announced) == 2)
        assert it.announced[0]["one"] == [first]
        assert it.announced[1]["one"] == [second]
        assert it.announced[1]["two"] == it.announced[0]["two"]
        stop()

    assert running.run(script) == 0
    assert running.told.events == [("restarted", "one", "signal SIGKILL"), ("stopping",)]
    assert all(gone(pid) for pid in [*running.pids("one", 2), *running.pids("two")])


def test_a_process_that_ignores_the_stop_is_killed_and_the_last_one_goes_last(tmp_path):
    order = "import signal,sys,time\ndef end(*_):\n    print('told', time.monotonic(), flush=True)\n    sys.exit(0)\n"
    order += "signal.signal(signal.SIGTERM, end)\n" + GOOD
    running = Running(tmp_path, [spec("store", order, last=True), spec("deaf", DEAF), spec("kind", order)])

    def script(it):
        for name in ("store", "deaf", "kind"):
            it.pids(name)
        it.watch.serve()
        it.until(lambda: it.announced)
        stop()

    assert running.run(script) == 0
    assert all(gone(running.pids(name)[0]) for name in ("store", "deaf", "kind"))
    times = {name: float(running.journal.tail(name)[-1].split()[1]) for name in ("store", "kind")}
    assert times["store"] > times["kind"]


def test_a_second_stop_kills_at_once(tmp_path):
    running = Running(tmp_path, [spec("deaf", DEAF)])

    def script(it):
        it.pids("deaf")
        stop()
        it.until(lambda: ("stopping",) in it.told.events)
        stop()

    assert running.run(script) == 0
    assert gone(running.pids("deaf")[0])


def test_a_start_that_cannot_work_is_given_up_with_its_reason(tmp_path):
    running = Running(tmp_path, [spec("bad", BAD), spec("good", GOOD)])
    assert running.run(lambda it: None) == 1
    assert running.told.events[:2] == [("restarted", "bad", "exit code 7")] * 2
    assert ("failed", "bad", "exit code 7") in running.told.events
    assert running.journal.tail("bad", 1) == ["the reason"]


def test_wrong_settings_are_not_tried_again(tmp_path):
    running = Running(tmp_path, [spec("wrong", WRONG)])
    assert running.run(lambda it: None) == 1
    assert running.told.events == [("failed", "wrong", "exit code 2"), ("stopping",)]


def test_a_program_that_is_missing(tmp_path):
    running = Running(tmp_path, [Spec("no", "no", ("/nowhere/at-all",), {}), spec("good", GOOD)])
    assert running.run(lambda it: None) == 1
    assert ("failed", "no", "it cannot be run") in running.told.events


def test_never_ready_ends_the_start(tmp_path):
    running = Running(tmp_path, [spec("good", GOOD)])
    assert running.run(lambda it: (it.pids("good"), it.watch.serve(succeeded=False))) == 1
    assert running.announced == []


def test_deaths_after_the_start_never_end_the_product(tmp_path):
    # The first of them lives until the product serves.
    serves = tmp_path / "serves"
    waits = f"import os,time\nwhile not os.path.exists({str(serves)!r}): time.sleep(0.01)\n"
    running = Running(tmp_path, [spec("bad", waits + BAD)])

    def script(it):
        it.watch.serve()
        it.until(lambda: it.announced)
        serves.touch()
        it.until(lambda: len([event for event in it.told.events if event[0] == "restarted"]) >= 4)
        stop()

    assert running.run(script) == 0


def test_next_free_port():
    with listen(0) as taken:
        port = taken.getsockname()[1]
        with listen(port) as other:
            assert port < other.getsockname()[1] <= port + 99
        with pytest.raises(NoPort):
            listen(port, tries=1)


def test_children_end_when_the_supervisor_is_killed(tmp_path):
    """A watching child ends by the closing of its pipe, a bound one by the system."""
    code = f"""
import json, os, sys
from pathlib import Path
from tollgate_cli.supervisor.journal import Journal
from tollgate_cli.supervisor.loop import Supervisor
from tollgate_cli.supervisor.spec import Spec
reader, writer = os.pipe()
class Quiet:
    finished = succeeded = False
    restarted = failed = stopping = begin = end = lambda *_: None
watch = "import os\\nprint('pid', os.getpid(), flush=True)\\nos.read(" + str(reader) + ", 1)"
specs = [
    Spec("watching", "w", (sys.executable, "-S", "-c", watch), {{}}, (reader,)),
    Spec("bound", "b", (sys.executable, "-S", "-c", {GOOD!r}), {{}}, (), bound=True),
]
journal = Journal(Path({str(tmp_path)!r}), ["watching", "bound"], sys.stdout, colour=False)
Supervisor(specs, journal, Quiet(), Quiet(), print).run()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pids = {}
    with process.stdout:
        try:
            while len(pids) < 2:
                words = process.stdout.readline().split()
                pids[words[0]] = int(words[2])
        finally:
            process.kill()
            process.wait()
    waiting = [pids["watching"], *([pids["bound"]] if sys.platform == "linux" else [])]
    deadline = time.monotonic() + 60
    while not all(gone(pid) for pid in waiting):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tollgate(*arguments, **environment):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TOLLGATE_")}
    command = [sys.executable, "-m", "tollgate_cli", *arguments]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, timeout=180, check=False)


def test_second_start_on_one_home_is_refused(tmp_path):
    from tollgate_cli.home import Home

    home = Home(tmp_path / "h")
    home.prepare()
    lock = home.take_lock()
    refused = tollgate("up", "--home", str(home.root), "--port", "0")
    os.close(lock)
    assert refused.returncode == 1
    assert f"process {os.getpid()}" in refused.stderr
    assert "tollgate down" in refused.stderr
    assert not list(home.logs.iterdir())


def test_wrong_declarations_start_nothing_and_are_all_named(tmp_path):
    file = tmp_path / "tollgate.yaml"
    file.write_text("channels:\n  - name: a\n    provider: nobody\n    models: ['*']\n  - name: 7\n    colour: red\n")
    for extra in ([], ["--json"]):
        refused = tollgate("up", "--home", str(tmp_path / "h"), "--config", str(file), *extra)
        assert refused.returncode == 1
        text = refused.stdout + refused.stderr
        for part in ("nobody", "colour", "tollgate.yaml"):
            assert part in text
    details = json.loads(refused.stdout)["error"]["details"]
    assert all(item["line"] > 0 and item["field"] and item["allowed"] for item in details)
    assert not (tmp_path / "h").exists()


def test_down_stops_the_holder_of_the_home(tmp_path):
    code = f"""
import os, sys, time
from pathlib import Path
from tollgate_cli.home import Home
home = Home(Path({str(tmp_path / "h")!r})); home.prepare(); lock = home.take_lock()
print("held", flush=True); time.sleep(600)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with holder.stdout:
        try:
            assert holder.stdout.readline() == "held\n"
            stopped = tollgate("down", "--json", TOLLGATE_HOME=str(tmp_path / "h"))
            assert holder.wait(60) == -signal.SIGTERM
        finally:
            holder.kill()
            holder.wait()
    assert json.loads(stopped.stdout) == {"stopped": True, "pid": holder.pid, "home": str(tmp_path / "h")}
    again = tollgate("down", "--home", str(tmp_path / "h"))
    assert (again.returncode, again.stdout) == (0, f"Nothing runs with the home {tmp_path / 'h'}.\n")
