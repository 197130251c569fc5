"""The Compose file names images that are pinned, settings that exist, and no secret."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tollgate_kit.settings import ServiceSettings

pytestmark = pytest.mark.contract

SettingsOf = Callable[[str], type[ServiceSettings]]
SERVICES = ("edge", "router", "billing", "media-jobs")
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(:[?-][^}]*)?\}")


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "deploy/compose"


@pytest.fixture(scope="module")
def compose(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8")))


def test_the_services_and_the_servers_are_there(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {*SERVICES, "postgres", "valkey", "kafka", "clickhouse"}


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        image, _, tag = service["image"].partition(":")
        assert tag, name
        assert tag != "latest", name
        assert "." not in image.partition("/")[0], "no registry host"


def test_builds_and_files_exist(compose: dict[str, Any], folder: Path) -> None:
    for name in SERVICES:
        build = compose["services"][name]["build"]
        assert (folder / build["context"] / build["dockerfile"]).is_file()
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (folder / source).is_file(), source
            else:
                assert source in compose["volumes"], source


def test_dependencies_are_services(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", [])) <= set(compose["services"])


def test_our_processes_are_hardened(compose: dict[str, Any]) -> None:
    for name in SERVICES:
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_health_is_asked_at_the_admin_address(compose: dict[str, Any]) -> None:
    for name in SERVICES:
        service = compose["services"][name]
        address = service["environment"][f"TOLLGATE_{name.replace('-', '_').upper()}_ADMIN_ADDRESS"]
        assert f"http://{address}/readyz" in service["healthcheck"]["test"][-1]


def test_only_the_gateway_is_open_and_only_on_loopback(compose: dict[str, Any]) -> None:
    opened = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(opened) == {"edge"}
    assert all(port.startswith("127.0.0.1:") for port in opened["edge"])


@pytest.mark.parametrize("name", SERVICES)
def test_settings_class_takes_the_environment(
    compose: dict[str, Any], name: str, settings_of: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = settings_of(name)
    prefix = str(cls.model_config["env_prefix"])
    given = {key: value for key, value in compose["services"][name]["environment"].items() if "TOLLGATE_" in key}
    for key, value in given.items():
        assert key.startswith(prefix), f"{name} is given {key}"
        assert key.removeprefix(prefix).lower() in cls.model_fields, f"{key} is no setting of {name}"
        monkeypatch.setenv(key, _VARIABLE.sub("x", value))
    settings = cls()
    grace = float(compose["services"][name]["stop_grace_period"].removesuffix("s"))
    assert grace > settings.drain_seconds, "a stop has time to drain"


def test_variables_are_in_the_example_and_secrets_have_no_default(folder: Path) -> None:
    text = (folder / "compose.yaml").read_text(encoding="utf-8")
    example = dict(
        line.split("=", 1)
        for line in (folder / ".env.example").read_text(encoding="utf-8").splitlines()
        if "=" in line and not line.startswith("#")
    )
    used = {match[1]: match[2] or "" for match in _VARIABLE.finditer(text)}
    assert set(used) == set(example)
    for name, rule in used.items():
        if name.endswith("PASSWORD"):
            assert rule.startswith(":?"), f"{name} must be set"
            assert example[name] == ""
