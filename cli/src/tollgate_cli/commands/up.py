"""`tollgate up`: checks what was declared, then turns into the supervisor, which imports none of this."""

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tollgate_cli.errors import Failure, check_there
from tollgate_cli.supervisor.spec import Options

if TYPE_CHECKING:
    from tollgate_resources import Channel, Credential
from tollgate_cli.home import home_of

_OWNER: Final = re.compile(rb"^ *provider: *(\S+) *$", re.MULTILINE)


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
    channels = check_declared(paths) if paths else ()
    named = {item.env for channel in channels for item in references(channel) if item.env}
    for line in unreadable_credentials(channels, os.environ):
        sys.stderr.write(f"{line}\n")
    variables = provider_variables()
    idle = idle_variables()
    served = bool(channels) or any(os.environ.get(name) for name in variables - idle.keys())
    for name in () if channels else sorted(name for name in idle if os.environ.get(name)):
        sys.stderr.write(
            f"{name} alone serves no model, since none of {idle[name]} is known here: declare a channel with its "
            "models, as docs/guides/configuration.md describes.\n"
        )
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


def check_declared(paths: Sequence[Path]) -> "Sequence[Channel]":
    """Returns the channels that are declared. Raises Failure that lists every problem."""
    from tollgate_resources import load, load_catalogue

    check_there(paths)
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
    return loaded.declared().channels


def references(channel: "Channel") -> "Iterator[Credential]":
    """Yields every place that a channel has a secret read from."""
    yield from channel.credentials
    if channel.proxy is not None and channel.proxy.credential is not None:
        yield channel.proxy.credential
    if channel.cloud is not None and channel.cloud.entra is not None:
        yield from (channel.cloud.entra.tenant, channel.cloud.entra.client)


def unreadable_credentials(channels: "Sequence[Channel]", environment: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each credential that is not where its channel says.

    It is no error: the channel's other keys, or other channels, may do.
    """
    found = []
    for channel in channels:
        for item in references(channel):
            if item.env and not environment.get(item.env, "").strip():
                found.append(f"Channel {channel.name!r}: the environment variable {item.env} is not set.")
            elif item.file and not os.access(item.file, os.R_OK):
                found.append(f"Channel {channel.name!r}: the file {item.file} cannot be read.")
    return found


def provider_variables() -> set[str]:
    """Returns the names of the variables that may hold keys of known providers."""
    return {variable for provider in _providers() for variable in provider.get("environment", ())}


def idle_variables() -> dict[str, str]:
    """Returns which of them serve no model by themselves, and the name of their provider: it sells what others make."""
    known = {found[1].decode() for file in _data("models.yaml") for found in _OWNER.finditer(file.read_bytes())}
    providers = _providers()
    serving = {name for one in providers if one["name"] in known for name in one.get("environment", ())}
    return {
        variable: provider.get("title", provider["name"])
        for provider in providers
        for variable in provider.get("environment", ())
        if variable not in serving
    }


@cache
def _providers() -> list[dict[str, Any]]:
    """Returns the known providers, as they stand in the data files: the package would cost a quarter of a second."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [
        provider
        for file in _data("providers/*.yaml")
        for provider in yaml.load(file.read_bytes(), loader)["providers"]  # noqa: S506 - the safe loader, in C where it was built.
    ]


def _data(pattern: str) -> list[Path]:
    found = importlib.util.find_spec("tollgate_resources")
    folders = found.submodule_search_locations or () if found else ()
    return [file for folder in folders for file in sorted((Path(folder) / "data").glob(pattern))]
