"""`tollgate up`: checks what was declared, then turns into the supervisor, which imports none of this."""

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tollgate_cli.errors import Failure
from tollgate_cli.supervisor.spec import Options
from tollgate_cli.target import home_of


def run_up(
    home: Path | None,
    config: Sequence[Path],
    port: int,
    workers: int,
    ready_file: Path | None,
    *,
    logs: bool,
    demo: bool,
    as_json: bool,
) -> None:
    """Never returns: the process becomes the supervisor. Raises Failure for declarations that do not validate."""
    paths = [path.absolute() for path in config]
    declared = os.environ.get("TOLLGATE_EDGE_CONFIG_PATHS", "") if not paths else ""
    paths += [Path(part) for part in declared.split(os.pathsep) if part]
    channels, named = check_declared(paths) if paths else (False, set())
    variables = provider_variables()
    served = channels or any(os.environ.get(name) for name in variables)
    if not served and not demo:
        sys.stderr.write("No channel is declared and no provider's key is set: no model is served yet.\n")
    options = Options(
        home=str(home_of(home, os.environ).root),
        config=tuple(str(path) for path in paths),
        port=port,
        workers=workers,
        ready_file="" if ready_file is None else str(ready_file.absolute()),
        logs=logs,
        demo=demo,
        as_json=as_json,
        simulator=demo and not served,
        secrets=tuple(sorted(variables | named)),
    )
    sys.stdout.flush()
    command = [sys.executable, "-m", "tollgate_cli.supervisor", json.dumps(asdict(options))]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, without a shell.


def check_declared(paths: Sequence[Path]) -> tuple[bool, set[str]]:
    """Returns whether channels are declared, and the variables their credentials name.

    Raises Failure that lists every problem.
    """
    from tollgate_resources import load, load_catalogue

    loaded = load(paths, load_catalogue())
    if loaded.problems:
        lines = [str(problem) for problem in loaded.problems]
        count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
        raise Failure(
            "\n".join([f"Nothing was started: {count} in what is declared.", *lines]),
            advice="docs/guides/configuration.md describes the format.",
            details=[
                {"file": one.file, "line": one.line, "field": one.field, "found": one.found, "allowed": one.allowed}
                for one in loaded.problems
            ],
        )
    channels = loaded.declared().channels
    return bool(channels), {item.env for channel in channels for item in channel.credentials if item.env}


def provider_variables() -> set[str]:
    """Returns the names of the variables that may hold keys of known providers.

    Read from the data file itself: importing the package would cost a quarter of a second at every start.
    """
    import yaml

    found = importlib.util.find_spec("tollgate_resources")
    names: set[str] = set()
    for folder in found.submodule_search_locations or () if found else ():
        for file in sorted((Path(folder) / "data").glob("providers*.yaml")):
            text = file.read_bytes()
            for provider in yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["providers"]:  # noqa: S506 - the safe loader, in C where it was built.
                names.update(provider.get("environment", ()))
    return names
