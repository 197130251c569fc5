"""Which processes are started, with which environment."""

import os

import pytest

from tollgate_cli.commands.up import idle_variables, provider_variables, references, unreadable_credentials
from tollgate_cli.home import LONGEST_SOCKET_NAME, LONGEST_SOCKET_PATH, AlreadyRunning, Home, run_directory, write_json
from tollgate_cli.supervisor.plan import Handles, Plan, needs_valkey
from tollgate_cli.supervisor.spec import Options
from tollgate_resources import Channel, environment_channels, load_catalogue

pytestmark = pytest.mark.unit


def options(**more):
    values = {
        "home": "/h",
        "config": (),
        "port": 8080,
        "workers": 1,
        "ready_file": "",
        "logs": False,
        "demo": True,
        "as_json": False,
        "simulator": False,
        "secrets": ("OPENAI_API_KEY", "MY_KEY"),
    }
    return Options(**values | more)


def plan(tmp_path, environment=None, simulator=-1, **more):
    handles = Handles(listener=11, supervisor=12, simulator=simulator, simulator_port=4321, valkey="/bin/valkey-server")
    specs = Plan(options(**more), Home(tmp_path / "h"), handles, environment or {}).specs()
    return {spec.name: spec for spec in specs}


def test_all_processes_with_workers(tmp_path):
    specs = plan(tmp_path, workers=2, simulator=13)
    assert list(specs) == [
        "valkey", "billing", "media-jobs", "edge-0", "edge-1", "router-0", "router-1", "simulator",
    ]  # fmt: skip
    for slot in (0, 1):
        edge = specs[f"edge-{slot}"]
        assert edge.environment["TOLLGATE_EDGE_SLOT"] == str(slot)
        assert edge.environment["TOLLGATE_EDGE_LISTEN_FD"] == "11"
        assert edge.environment["TOLLGATE_EDGE_ROUTER_ADDRESSES"].count("unix:") == 2
        assert 11 in edge.descriptors
        assert 11 not in specs[f"router-{slot}"].descriptors
    own = ("GRPC_ADDRESS", "ADMIN_ADDRESS", "SPOOL_DIRECTORY")
    for name in own:
        assert len({specs[f"edge-{slot}"].environment[f"TOLLGATE_EDGE_{name}"] for slot in (0, 1)}) == 2
    addresses = [spec.address for spec in specs.values()]
    assert len(set(addresses)) == len(addresses)
    assert all(12 in spec.descriptors for name, spec in specs.items() if name != "valkey")
    assert [name for name, spec in specs.items() if spec.last or spec.bound] == ["valkey"]


def test_addresses_meet(tmp_path):
    specs = plan(tmp_path, workers=2)
    router = specs["router-1"].environment
    assert f"{router['TOLLGATE_ROUTER_ADDRESS']}" in specs["edge-0"].environment["TOLLGATE_EDGE_ROUTER_ADDRESSES"]
    assert router["TOLLGATE_ROUTER_CONFIG_ADDRESSES"].split(",") == [
        specs[f"edge-{slot}"].environment["TOLLGATE_EDGE_GRPC_ADDRESS"] for slot in (0, 1)
    ]
    billing, edge = specs["billing"].environment, specs["edge-0"].environment
    assert billing["TOLLGATE_BILLING_ADDRESS"] == edge["TOLLGATE_EDGE_BILLING_ADDRESS"]
    assert specs["media-jobs"].environment["TOLLGATE_MEDIA_JOBS_ADDRESS"] == edge["TOLLGATE_EDGE_MEDIA_ADDRESS"]
    assert billing["TOLLGATE_BILLING_REDIS_URL"] == edge["TOLLGATE_EDGE_REDIS_URL"]
    assert billing["TOLLGATE_BILLING_EVENT_LOG_URL"] == router["TOLLGATE_ROUTER_EVENT_LOG_URL"]
    assert edge["TOLLGATE_EDGE_REDIS_URL"].removeprefix("unix://") in specs["valkey"].arguments


def test_only_who_calls_providers_gets_their_keys(tmp_path):
    environment = {"OPENAI_API_KEY": "sk-secret", "MY_KEY": "my-secret", "PATH": "/bin"}
    specs = plan(tmp_path, environment, simulator=13)
    holders = {name for name, spec in specs.items() if "sk-secret" in spec.environment.values()}
    assert holders == {"router-0", "media-jobs"}
    assert "my-secret" not in repr(specs)
    assert specs["edge-0"].environment["OPENAI_API_KEY"] == "set"
    assert "OPENAI_API_KEY" not in specs["billing"].environment
    assert all(spec.environment["PATH"] == "/bin" for spec in specs.values())


def test_servers_elsewhere_win(tmp_path):
    elsewhere = {
        "TOLLGATE_EDGE_DATABASE_URL": "postgresql+psycopg://db",
        "TOLLGATE_BILLING_CLICKHOUSE_DSN": "http://clickhouse",
        "TOLLGATE_EDGE_REDIS_URL": "redis://r",
        "TOLLGATE_BILLING_REDIS_URL": "redis://r",
        "TOLLGATE_MEDIA_JOBS_REDIS_URL": "redis://r",
        "TOLLGATE_EDGE_LISTEN_FD": "3",
    }
    specs = plan(tmp_path, elsewhere)
    assert "valkey" not in specs
    edge = specs["edge-0"].environment
    assert edge["TOLLGATE_EDGE_DATABASE_URL"] == "postgresql+psycopg://db"
    assert edge["TOLLGATE_EDGE_LISTEN_FD"] == "11"
    assert specs["billing"].environment["TOLLGATE_BILLING_CLICKHOUSE_DSN"] == "http://clickhouse"
    assert needs_valkey({**elsewhere, "TOLLGATE_BILLING_REDIS_URL": ""})


def test_demo_config_and_simulator_reach_edge(tmp_path):
    edge = plan(tmp_path, demo=False, config=("/a.yaml", "/b"), simulator=13)["edge-0"].environment
    assert edge["TOLLGATE_EDGE_DEMO"] == "false"
    assert edge["TOLLGATE_EDGE_CONFIG_PATHS"] == f"/a.yaml{os.pathsep}/b"
    assert edge["TOLLGATE_EDGE_SIMULATOR_URL"] == "http://127.0.0.1:4321/v1"
    plain = plan(tmp_path)
    assert "simulator" not in plain
    assert "TOLLGATE_EDGE_SIMULATOR_URL" not in plain["edge-0"].environment


def test_services_take_these_settings(tmp_path):
    """Every variable that we set is a field of the service's settings class."""
    for module, name, prefix in (
        ("tollgate_edge.settings", "EdgeSettings", "TOLLGATE_EDGE_"),
        ("tollgate_router.settings", "RouterSettings", "TOLLGATE_ROUTER_"),
        ("tollgate_billing.settings", "BillingSettings", "TOLLGATE_BILLING_"),
        ("tollgate_media_jobs.settings", "MediaJobsSettings", "TOLLGATE_MEDIA_JOBS_"),
    ):
        fields = vars(__import__(module, fromlist=[name]))[name].model_fields
        for spec in plan(tmp_path, simulator=13, config=("/a",)).values():
            ours = {key.removeprefix(prefix).lower() for key in spec.environment if key.startswith(prefix)}
            assert ours <= set(fields), spec.name


def test_long_homes_get_a_short_run_directory(tmp_path):
    near = run_directory(tmp_path / "h")
    assert near == tmp_path / "h" / "run"
    deep = tmp_path / ("x" * 100)
    far = run_directory(deep)
    assert len(str(far)) + LONGEST_SOCKET_NAME <= LONGEST_SOCKET_PATH
    assert far == run_directory(deep)
    assert far != run_directory(tmp_path / ("y" * 100))
    longest = max(len(spec.address) for spec in plan(deep, workers=64).values())
    assert longest - len("redis:") <= LONGEST_SOCKET_PATH


def test_home_is_taken_once(tmp_path):
    home = Home(tmp_path / "h")
    assert home.running() is None
    home.prepare()
    lock = home.take_lock()
    with pytest.raises(AlreadyRunning) as refused:
        home.take_lock()
    assert refused.value.pid == os.getpid() == home.running()
    os.close(lock)
    assert home.running() is None
    assert (tmp_path / "h").stat().st_mode & 0o777 == 0o700


def test_ready_file_is_private_and_replaced_at_once(tmp_path):
    home = Home(tmp_path)
    assert home.read_ready() is None
    home.ready.write_text("{broken")
    assert home.read_ready() is None
    write_json(home.ready, {"pid": 1})
    assert home.read_ready() == {"pid": 1}
    assert home.ready.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["ready.json"]


def test_the_environment_may_set_grpc_otherwise(tmp_path):
    assert plan(tmp_path)["edge-0"].environment["GRPC_EXPERIMENTS"].startswith("-event_engine_client,")
    other = plan(tmp_path, {"GRPC_EXPERIMENTS": "none"})
    assert {one.environment["GRPC_EXPERIMENTS"] for one in other.values() if one.service != "valkey"} == {"none"}


def test_the_keys_of_all_vendors_are_known_by_their_variables():
    # Without them a key in the environment would be no reason to leave the simulator out.
    catalogue = load_catalogue()
    named = {name for provider in catalogue.providers.values() for name in provider.environment}
    assert provider_variables() == named
    assert {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "DEEPSEEK_API_KEY"} <= named


def test_keys_of_vendors_without_known_models_serve_nothing_by_themselves():
    catalogue = load_catalogue()
    idle = idle_variables()
    for name in provider_variables():
        assert bool(environment_channels({name: "x"}, catalogue).channels) == (name not in idle), name
    assert idle["OPENROUTER_API_KEY"] == "OpenRouter"


def test_every_place_that_a_channel_has_a_secret_read_from_is_handed_on():
    channel = Channel.model_validate(
        {
            "name": "a", "provider": "azure", "base_url": "https://h", "models": ["m"],
            "credentials": [{"env": "SECRET"}, {"file": "/none"}],
            "cloud": {"entra": {"tenant": {"env": "TENANT"}, "client": {"env": "CLIENT"}}},
            "proxy": {"url": "http://proxy.example:3128", "credential": {"env": "PROXY"}},
        }
    )  # fmt: skip
    assert [one.env for one in references(channel)] == ["SECRET", None, "PROXY", "TENANT", "CLIENT"]
    assert unreadable_credentials([channel], {"SECRET": "x", "PROXY": "x", "TENANT": "x"}) == [
        "Channel 'a': the file /none cannot be read.",
        "Channel 'a': the environment variable CLIENT is not set.",
    ]
