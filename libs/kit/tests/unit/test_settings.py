"""What a process says of settings that are wrong: each variable by name, once, and nothing that is secret."""

import pytest
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from tollgate_kit.settings import (
    Address,
    Addresses,
    EventLogUrl,
    HttpUrl,
    RedisUrl,
    ServiceSettings,
    SqlUrl,
    load_settings,
)

pytestmark = pytest.mark.unit

SECRET = "s3cr3t"


class Wanted(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TOLLGATE_WANTED_")

    address: Address = Field(default="", description="D.")
    routers: Addresses = Field(default=(), description="D.")
    page: HttpUrl = Field(default="", description="D.")
    sql: SqlUrl = Field(default=SecretStr(""), description="D.")
    redis: RedisUrl = Field(default=SecretStr(""), description="D.")
    events: EventLogUrl = Field(default="", description="D.")
    number: int = Field(default=1, description="D.")
    key: SecretStr = Field(default=SecretStr(""), max_length=4, description="D.")

    @model_validator(mode="after")
    def _together(self) -> "Wanted":
        if self.number == 13:
            raise ValueError("TOLLGATE_WANTED_NUMBER goes without TOLLGATE_WANTED_KEY")
        return self


class Needing(Wanted):
    needed: str = Field(description="D.")


@pytest.fixture
def said(monkeypatch, capsys):
    """Sets variables, and returns what loading them prints and how it ends."""

    def ask(cls=Wanted, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"TOLLGATE_WANTED_{name}", value)
        with pytest.raises(SystemExit) as ended:
            load_settings(cls)
        assert ended.value.code == 2
        return capsys.readouterr().err

    return ask


REFUSED = [
    ("LOG_LEVEL", "verbose"),
    ("LOG_FORMAT", "xml"),
    ("ADMIN_ADDRESS", "foo"),
    ("ADDRESS", "nonsense"),
    ("ADDRESS", "unix:"),
    ("ADDRESS", ":80"),
    ("ADDRESS", "h:65536"),
    ("ADDRESS", "http://h:80"),
    ("ROUTERS", ","),
    ("ROUTERS", "b"),
    ("PAGE", "nope"),
    ("PAGE", "https://"),
    ("PAGE", "ftp://a.example"),
    ("EVENTS", "kafak://x"),
    ("EVENTS", "kafka://a:1,"),
    ("EVENTS", "kafka://a:b"),
    ("EVENTS", "kafka://a:70000"),
    ("EVENTS", "kafka://a:1?partitions=0"),
    ("EVENTS", "kafka://a:1?partitions=2&session_seconds=0"),
    ("EVENTS", "kafka://a:1?session_second=2"),
    ("EVENTS", "sqlite:///"),
    ("NUMBER", "many"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_wrong_value_is_one_line_that_names_the_variable(said, name, value):
    found = said(**{name: value})
    assert found.startswith(f"TOLLGATE_WANTED_{name}: ")
    assert found.endswith(f"(found: {value!r})\n")
    assert found.count("\n") == 1


def test_every_wrong_value_has_its_line(said):
    assert said(NUMBER="many", ADDRESS="nonsense").splitlines() == [
        "TOLLGATE_WANTED_ADDRESS: expected `host:port` or `unix:PATH` (found: 'nonsense')",
        "TOLLGATE_WANTED_NUMBER: Input should be a valid integer, unable to parse string as an integer (found: 'many')",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEY", SECRET),
        ("SQL", f"mysql://u:{SECRET}@h/d"),
        ("SQL", f"postgresql+psycopg2://u:{SECRET}@h/d"),
        ("SQL", f"postgres://u:{SECRET}@h:{SECRET}/d"),
        ("SQL", "sqlite:///"),
        ("REDIS", f"reddis://:{SECRET}@h:1/0"),
        ("REDIS", f"redis://:{SECRET}@h:70000/0"),
        ("REDIS", "unix://"),
    ],
)
def test_what_may_hold_a_password_is_never_printed(said, name, value):
    found = said(**{name: value})
    assert found.startswith(f"TOLLGATE_WANTED_{name}: ")
    assert found.endswith("(found: ***)\n")
    assert SECRET not in found


@pytest.mark.parametrize("name", ["EVENTS", "PAGE", "ADDRESS"])
def test_a_password_where_none_belongs_is_left_out(said, name):
    found = said(**{name: f"kafka://u:{SECRET}/@{SECRET}@h:1"})
    assert "(found: 'kafka://***@h:1')" in found
    assert SECRET not in found


def test_what_is_missing_or_wrong_together_prints_no_other_setting(said):
    assert said(Needing, KEY="abcd") == "TOLLGATE_WANTED_NEEDED: Field required\n"
    assert said(KEY="abcd", NUMBER="13") == "TOLLGATE_WANTED_NUMBER goes without TOLLGATE_WANTED_KEY\n"


def test_an_empty_variable_is_as_one_that_is_not_set(said, monkeypatch):
    assert said(Needing, NEEDED="") == "TOLLGATE_WANTED_NEEDED: Field required\n"
    for name in ("LOG_LEVEL", "ADMIN_ADDRESS", "PAGE", "SQL"):
        monkeypatch.setenv(f"TOLLGATE_WANTED_{name}", "")
    assert load_settings(Wanted) == Wanted.model_construct()


def test_a_password_is_in_no_picture_of_the_settings():
    made = Wanted(sql=f"postgresql://u:{SECRET}@h/d", redis=f"redis://:{SECRET}@h:1/0", key="abcd")
    assert SECRET not in f"{made!r} {made} {made.model_dump()}"
    assert "abcd" not in repr(made)
    with pytest.raises(ValueError) as found:
        Wanted(sql=f"mysql://u:{SECRET}@h/d")
    assert SECRET not in str(found.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("postgres://u:p@h:5432/d?sslmode=require", "postgresql+psycopg://u:p@h:5432/d?sslmode=require"),
        ("postgresql://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg://u:a/b#c@[::1]:5432/d", "postgresql+psycopg://u:a/b#c@[::1]:5432/d"),
        ("postgresql+psycopg:///d?host=/run/postgresql", "postgresql+psycopg:///d?host=/run/postgresql"),
        ("sqlite:////var/lib/x.sqlite", "sqlite:////var/lib/x.sqlite"),
    ],
)
def test_sql_is_reached_by_the_driver_that_ships(given, meant):
    assert Wanted(sql=given).sql.get_secret_value() == meant


@pytest.mark.parametrize("url", ["unix:///run/r.sock", "redis://h", "rediss://:p/w@h:6380/3", "redis://:p@[::1]:1/0"])
def test_redis_is_at_a_socket_or_a_host(url):
    assert Wanted(redis=url).redis.get_secret_value() == url


def test_a_level_may_be_written_as_logging_writes_it():
    assert Wanted(log_level="WARNING").log_level == "warning"


def test_addresses_are_those_that_servers_and_clients_take():
    taken = ("unix:/run/a b.sock", "127.0.0.1:0", "[::1]:65535", "dns:///router.svc:9401", "tollgate_router-0.r:9401")
    assert Wanted(routers=" , ".join(taken)).routers == taken
    assert [Wanted(address=one).address for one in taken] == list(taken)
    assert Wanted(page="https://h.example:8443/a?b").page == "https://h.example:8443/a?b"
    for log in (
        "kafka://a,b:9092,c-1.x:1?partitions=3",
        "kafka://[::1]:9092",
        "kafka://a:1?partitions=2&session_seconds=3",
        "sqlite:////var/lib/x",
        "sqlite:///x",
    ):
        assert Wanted(events=log).events == log
