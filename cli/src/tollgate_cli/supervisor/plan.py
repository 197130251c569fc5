"""Which processes make up the product on one machine, and the environment of each. No I/O.

What the environment already sets (a database elsewhere, say) wins over the embedded part; addresses between the
processes are always ours.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tollgate_cli.home import Home
from tollgate_cli.supervisor.spec import Options, Spec

SERVICES = {"edge": "EDGE", "router": "ROUTER", "billing": "BILLING", "media-jobs": "MEDIA_JOBS"}
READS_KEYS = {"router", "media-jobs"}
# Billing works behind the requests, on the same processors: it takes what they leave.
NICENESS = {"billing": 10}
WITH_REDIS = ("edge", "billing", "media-jobs")
# gRPC's event engine hands every read and write of a socket to threads of its own. Without it the thread that waits for
# completions does both: half the context switches and half the kernel's time a message. Read when gRPC is imported.
GRPC_EXPERIMENTS = "-event_engine_client,-event_engine_listener,-event_engine_for_all_other_endpoints"


@dataclass(frozen=True, slots=True)
class Handles:
    """Descriptors that children inherit, and what is behind them."""

    listener: int
    supervisor: int
    simulator: int = -1
    simulator_port: int = 0
    valkey: str = ""


class Plan:
    """Lays out the processes of one home."""

    def __init__(self, options: Options, home: Home, handles: Handles, environment: Mapping[str, str]) -> None:
        self._options = options
        self._home = home
        self._handles = handles
        self._environment = environment

    def specs(self) -> list[Spec]:
        """Returns the processes in the order of their start."""
        return list(self._specs())

    def _specs(self) -> Iterator[Spec]:
        workers = range(self._options.workers)
        if needs_valkey(self._environment):
            yield self._valkey()
        yield self._service("billing", 0, self._billing())
        yield self._service("media-jobs", 0, self._media_jobs())
        for slot in workers:
            yield self._service("edge", slot, self._edge(slot))
        for slot in workers:
            yield self._service("router", slot, self._router(slot))
        if self._handles.simulator >= 0:
            yield self._simulator()

    def _edge(self, slot: int) -> dict[str, str]:
        home, workers = self._home, range(self._options.workers)
        ours = {
            "LISTEN_FD": str(self._handles.listener),
            "GRPC_ADDRESS": f"unix:{home.socket(f'edge-{slot}')}",
            "ROUTER_ADDRESSES": ",".join(f"unix:{home.socket(f'router-{worker}')}" for worker in workers),
            "BILLING_ADDRESS": f"unix:{home.socket('billing')}",
            "MEDIA_ADDRESS": f"unix:{home.socket('media-jobs')}",
            "SPOOL_DIRECTORY": str(home.root / "edge" / f"spool-{slot}"),
            "BOOTSTRAP_FILE": str(home.bootstrap),
            "DEMO": "true" if self._options.demo else "false",
        }
        if self._options.config:
            ours["CONFIG_PATHS"] = os.pathsep.join(self._options.config)
        if self._handles.simulator >= 0:
            ours["SIMULATOR_URL"] = f"http://127.0.0.1:{self._handles.simulator_port}/v1"
        return ours | self._defaults(
            "edge",
            DATABASE_URL=f"sqlite:///{home.root / 'edge' / 'edge.sqlite'}",
            PEPPER_FILE=str(home.root / "edge" / "pepper"),
            # Who stops the product waits for it.
            DRAIN_IDLE_SECONDS="0.2",
            TRACE_SAMPLE_RATIO=self._trace_sample_ratio(),
            **self._shared(),
        )

    def _router(self, slot: int) -> dict[str, str]:
        home = self._home
        ours = {
            "ADDRESS": f"unix:{home.socket(f'router-{slot}')}",
            "CONFIG_ADDRESSES": self._config_addresses(),
            "STATE_DIRECTORY": str(home.root / f"router-{slot}" / "state"),
            "SPOOL_DIRECTORY": str(home.root / f"router-{slot}" / "spool"),
        }
        shared = self._shared()
        del shared["REDIS_URL"]
        return ours | self._defaults(
            "router",
            TRACE_SAMPLE_RATIO=self._trace_sample_ratio(),
            # Where responses are stored once TOLLGATE_ROUTER_RESPONSES_RETENTION_DAYS says so.
            RESPONSES_DATABASE_URL=f"sqlite:///{home.root / 'router' / 'responses.sqlite'}",
            RESPONSES_KEY_FILE=str(home.root / "router" / "responses.key"),
            **shared,
        )

    def _billing(self) -> dict[str, str]:
        home = self._home
        ours = {
            "ADDRESS": f"unix:{home.socket('billing')}",
            "CONFIG_ADDRESSES": self._config_addresses(),
            "STATE_DIRECTORY": str(home.root / "billing" / "state"),
        }
        return ours | self._defaults(
            "billing",
            DATABASE_URL=f"sqlite:///{home.root / 'billing' / 'billing.sqlite'}",
            CLICKHOUSE_DSN=f"chdb://{home.root / 'usage'}",
            **self._shared(),
        )

    def _media_jobs(self) -> dict[str, str]:
        home = self._home
        ours = {
            "ADDRESS": f"unix:{home.socket('media-jobs')}",
            "CONFIG_ADDRESSES": self._config_addresses(),
            "STATE_DIRECTORY": str(home.root / "media-jobs" / "state"),
        }
        return ours | self._defaults(
            "media-jobs",
            DATABASE_URL=f"sqlite:///{home.root / 'media-jobs' / 'media-jobs.sqlite'}",
            ASSET_STORE_URL=f"file://{home.root / 'assets'}",
            TRACE_SAMPLE_RATIO=self._trace_sample_ratio(),
            **self._shared(),
        )

    def _trace_sample_ratio(self) -> str:
        # All traces are kept while somebody tries the product out.
        return "1" if self._options.demo else "0.01"

    def _shared(self) -> dict[str, str]:
        return {
            "REDIS_URL": f"unix://{self._home.socket('valkey')}",
            "EVENT_LOG_URL": f"sqlite://{self._home.root / 'log' / 'events.sqlite'}",
        }

    def _config_addresses(self) -> str:
        return ",".join(f"unix:{self._home.socket(f'edge-{worker}')}" for worker in range(self._options.workers))

    def _defaults(self, service: str, **values: str) -> dict[str, str]:
        """Returns the values that the environment leaves to us; Spec's environment keeps the others."""
        prefix = f"TOLLGATE_{SERVICES[service]}_"
        values["DRAIN_SECONDS"] = "3"
        return {name: value for name, value in values.items() if not self._environment.get(prefix + name)}

    def _service(self, service: str, slot: int, values: dict[str, str]) -> Spec:
        prefix = f"TOLLGATE_{SERVICES[service]}_"
        many = service in {"edge", "router"}
        name = f"{service}-{slot}" if many else service
        admin = f"unix:{self._home.socket(f'{name}-admin')}"
        values |= {"ADMIN_ADDRESS": admin, "SLOT": str(slot), "SUPERVISOR_FD": str(self._handles.supervisor)}
        descriptors = (self._handles.supervisor, *((self._handles.listener,) if service == "edge" else ()))
        return Spec(
            name=name,
            service=service,
            arguments=(sys.executable, "-m", f"tollgate_{service.replace('-', '_')}"),
            environment={"GRPC_EXPERIMENTS": GRPC_EXPERIMENTS}
            | self._without_keys(service)
            | {prefix + key: value for key, value in values.items()},
            descriptors=descriptors,
            address=admin,
            niceness=NICENESS.get(service, 0),
        )

    def _without_keys(self, service: str) -> dict[str, str]:
        """Returns the environment, in which only who calls providers finds their keys; edge learns which are set."""
        found = dict(self._environment) | {"PYTHONUNBUFFERED": "1"}
        if service not in READS_KEYS:
            for name in self._options.secrets:
                if found.pop(name, "") and service == "edge":
                    found[name] = "set"
        return found

    def _valkey(self) -> Spec:
        path = self._home.socket("valkey")
        settings = {
            "port": "0",
            "unixsocket": path,
            "unixsocketperm": "600",
            "dir": str(self._home.root / "valkey"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "logfile": "",
        }
        arguments = [self._handles.valkey]
        for name, value in settings.items():
            arguments += [f"--{name}", value]
        return Spec(
            name="valkey",
            service="valkey",
            arguments=tuple(arguments),
            environment=self._without_keys("valkey"),
            address=f"redis:{path}",
            last=True,
            bound=True,
        )

    def _simulator(self) -> Spec:
        handles = self._handles
        arguments = [sys.executable, "-m", "tollgate_simulator_provider"]
        arguments += ["--listen-fd", str(handles.simulator), "--supervisor-fd", str(handles.supervisor)]
        arguments += ["--ledger", str(self._home.root / "simulator" / "ledger.jsonl")]
        return Spec(
            name="simulator",
            service="simulator",
            arguments=tuple(arguments),
            environment=self._without_keys("simulator"),
            descriptors=(handles.simulator, handles.supervisor),
            address=f"simulator:127.0.0.1:{handles.simulator_port}",
        )


def needs_valkey(environment: Mapping[str, str]) -> bool:
    """Tells whether any service was left without a Redis of its own."""
    return not all(environment.get(f"TOLLGATE_{SERVICES[service]}_REDIS_URL") for service in WITH_REDIS)
