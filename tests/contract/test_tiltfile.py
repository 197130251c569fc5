"""The Tiltfile evaluates, and what it calls fits the repository; Tilt's own functions are recorders here."""

import ast
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import starlark as sl
import yaml

pytestmark = pytest.mark.contract

SERVICES = ("tollgate-edge", "tollgate-router", "tollgate-billing", "tollgate-media-jobs")
CALLS = (
    "allow_k8s_contexts", "docker_build", "fall_back_on", "helm", "k8s_resource", "k8s_yaml", "local_resource", "run",
    "sync",
)  # fmt: skip
Calls = dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]]


class Recorder:
    """Stands in for Tilt: every function keeps its arguments and returns a value that names the call."""

    def __init__(self) -> None:
        self.calls: Calls = defaultdict(list)

    def function(self, name: str) -> Callable[..., list[Any]]:
        def call(*arguments: Any, **named: Any) -> list[Any]:
            self.calls[name].append((arguments, named))
            return [name, *arguments]

        return call


def evaluate(text: str) -> Calls:
    recorder = Recorder()
    dialect = sl.Dialect.standard()
    dialect.enable_top_level_stmt = True
    dialect.enable_f_strings = False
    module = sl.Module()
    for name in CALLS:
        module.add_callable(name, recorder.function(name))
    module["TRIGGER_MODE_MANUAL"] = 1

    def load(path: str) -> sl.FrozenModule:
        assert path == "ext://restart_process", path
        extension = sl.Module()
        extension.add_callable("docker_build_with_restart", recorder.function("docker_build_with_restart"))
        return extension.freeze()

    sl.eval(module, sl.parse("Tiltfile", text, dialect), sl.Globals.standard(), sl.FileLoader(load))
    return recorder.calls


@pytest.fixture(scope="module")
def calls(root: Path) -> Calls:
    return evaluate((root / "Tiltfile").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def manifests(root: Path, chart: Any) -> list[dict[str, Any]]:
    values = yaml.safe_load((root / "deploy/local/values.yaml").read_text(encoding="utf-8"))
    rendered = chart.render(values, name="tollgate", namespace="default")
    texts = [text for name, text in rendered.items() if name.endswith(".yaml")]
    texts.append((root / "deploy/local/dependencies.yaml").read_text(encoding="utf-8"))
    return [item for text in texts for item in yaml.safe_load_all(text) if item]


def workloads(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item for item in manifests if item["kind"] in {"Deployment", "StatefulSet"}}


def test_every_workload_is_named_and_nothing_else(calls: Calls, manifests: list[dict[str, Any]]) -> None:
    named = [arguments[0] for arguments, _ in calls["k8s_resource"]]
    assert len(named) == len(set(named))
    assert set(named) == set(workloads(manifests))
    assert set(SERVICES) <= set(named)


def test_every_image_of_ours_is_built_and_used(calls: Calls, manifests: list[dict[str, Any]]) -> None:
    built = {arguments[0] for arguments, _ in calls["docker_build_with_restart"]}
    used = {
        container["image"].partition(":")[0]
        for item in workloads(manifests).values()
        for container in item["spec"]["template"]["spec"]["containers"]
    }
    assert built == {image for image in used if image.startswith("tollgate-")}
    assert set(SERVICES) <= built


def test_builds_name_paths_that_exist(calls: Calls, root: Path) -> None:
    for arguments, named in calls["docker_build_with_restart"]:
        dockerfile = root / named["dockerfile"]
        assert dockerfile.is_file(), arguments
        assert f"AS {named['target']}\n" in dockerfile.read_text(encoding="utf-8")
        for path in named["only"]:
            assert (root / path).exists(), path
        module = named["entrypoint"][-1]
        assert list(root.glob(f"*/*/src/{module}/__main__.py")), module


def test_live_update_syncs_the_folders_the_dockerfile_runs_from(calls: Calls, root: Path) -> None:
    for _, named in calls["docker_build_with_restart"]:
        steps = named["live_update"]
        assert steps[0][0] == "fall_back_on"
        assert all((root / path).is_file() for path in steps[0][1])
        synced = {step[1]: step[2] for step in steps if step[0] == "sync"}
        assert all((root / source).is_dir() for source in synced)
        text = (root / named["dockerfile"]).read_text(encoding="utf-8")
        [path] = [line for line in text.splitlines() if line.startswith("ENV PYTHONPATH=")]
        assert set(synced.values()) == set(path.removeprefix("ENV PYTHONPATH=").split(":"))
        for source in synced:
            assert any(source.startswith(item) for item in named["only"]), source


def test_dependencies_are_resources_and_ports_are_unique(calls: Calls) -> None:
    names = {arguments[0] for arguments, _ in calls["k8s_resource"]}
    ports: list[str] = []
    for _, named in calls["k8s_resource"]:
        assert set(named.get("resource_deps", [])) <= names
        ports += [port.partition(":")[0] for port in named.get("port_forwards", [])]
    assert len(ports) == len(set(ports))
    assert "8080" in ports


def test_yaml_and_chart_exist(calls: Calls, root: Path) -> None:
    for arguments, _ in calls["k8s_yaml"]:
        if isinstance(arguments[0], str):
            assert (root / arguments[0]).is_file()
    [(arguments, named)] = calls["helm"]
    assert (root / arguments[0] / "Chart.yaml").is_file()
    assert all((root / path).is_file() for path in named["values"])


def test_local_commands_are_make_targets(calls: Calls, root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for arguments, _ in calls["local_resource"]:
        program, target = arguments[1].split()
        assert program == "make"
        assert f"\n{target}:" in makefile


def test_stays_on_local_clusters(calls: Calls) -> None:
    [(arguments, _)] = calls["allow_k8s_contexts"]
    assert arguments[0]


@pytest.mark.parametrize("broken", ["k8s_resourse('x')", "x = f'{1}'", "k8s_yaml(", "load('ext://unknown', 'a')"])
def test_a_broken_file_does_not_evaluate(broken: str) -> None:
    with pytest.raises((sl.StarlarkError, AssertionError)):
        evaluate(broken)


def test_the_file_needs_no_python_only_syntax(root: Path) -> None:
    # Starlark is a dialect of Python: what both read has no f-string, class, try or import in it.
    tree = ast.parse((root / "Tiltfile").read_text(encoding="utf-8"))
    found = [
        n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr | ast.ClassDef | ast.Try | ast.Import | ast.While)
    ]
    assert not found
