"""The Dockerfiles build from what the repository has, as nobody's root, from pinned things only."""

import json
import re
import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest
from tools import image

from tollgate_cli.supervisor.plan import GRPC_EXPERIMENTS

pytestmark = pytest.mark.contract

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("services/edge", "services/router", "services/billing", "services/media-jobs", "simulators/provider")


@dataclass
class Stage:
    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [text for kind, text in self.steps if kind == instruction]


def parse(text: str) -> list[Stage]:
    lines = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, lines.splitlines())):
        kind, _, rest = line.partition(" ")
        if kind == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name))
        else:
            stages[-1].steps.append((kind, rest.strip()))
    return stages


def lineage(stages: list[Stage], name: str) -> list[Stage]:
    """Returns the stage and those it is built on, the first one first."""
    by_name = {stage.name: stage for stage in stages}
    found = [by_name[name]]
    while found[0].base in by_name:
        found.insert(0, by_name[found[0].base])
    return found


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stages(folder: str) -> list[Stage]:
    return parse((ROOT / folder / "Dockerfile").read_text(encoding="utf-8"))


def test_every_service_has_one() -> None:
    assert sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml")) == sorted(
        path.parent.name for path in ROOT.glob("services/*/Dockerfile")
    )


def test_stages(stages: list[Stage]) -> None:
    assert [stage.name for stage in stages] == ["build", "production", "dev", "final"]
    assert stages[-1].base == "production", "a build without a target makes what is deployed"


def test_bases_are_pinned_and_name_no_registry(stages: list[Stage]) -> None:
    names = {stage.name for stage in stages}
    outside = {stage.base for stage in stages} - names
    assert outside == {"python:3.11-slim"}


def test_runs_as_nobody_in_particular(stages: list[Stage]) -> None:
    for name in ("final", "dev"):
        users = [user for stage in lineage(stages, name) for user in stage.all("USER")]
        uid, _, gid = users[-1].partition(":")
        assert int(uid) > 0
        assert int(gid) > 0


def test_starts_the_module_of_its_folder(stages: list[Stage], folder: str) -> None:
    [entry] = [text for stage in lineage(stages, "final") for text in stage.all("ENTRYPOINT")]
    command = json.loads(entry)
    assert command[:2] == ["python", "-m"], "no shell in between, so that signals arrive"
    assert (ROOT / folder / "src" / command[2] / "__main__.py").is_file()


def test_sources_exist_and_pass_the_ignore_file(stages: list[Stage]) -> None:
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    checked = 0
    for stage in stages:
        for text in stage.all("COPY"):
            words = [word for word in shlex.split(text) if not word.startswith("--")]
            if "--from=" in text:
                continue
            for source in words[:-1]:
                assert (ROOT / source).exists(), source
                assert any(source.startswith(item) or fnmatch(source, item) for item in allowed), source
                checked += 1
    assert checked


def test_copies_exactly_the_members_it_needs(stages: list[Stage], folder: str) -> None:
    needed = {path.relative_to(ROOT).as_posix() for path in image.members_of(folder)}
    by_name = {stage.name: stage for stage in stages}
    built = {shlex.split(text)[0].rstrip("/") for text in by_name["build"].all("COPY")}
    assert {source for source in built if (ROOT / source / "pyproject.toml").is_file()} == needed
    live = {shlex.split(text)[-2].rstrip("/").removesuffix("/src") for text in by_name["dev"].all("COPY")}
    assert live == needed
    [path] = [text for text in by_name["dev"].all("ENV") if text.startswith("PYTHONPATH=")]
    assert set(path.removeprefix("PYTHONPATH=").split(":")) == {f"/src/{member}/src" for member in needed}


def test_runs_grpc_as_the_supervisor_does(stages: list[Stage], folder: str) -> None:
    by_name = {stage.name: stage for stage in stages}
    found = [text for text in by_name["production"].all("ENV") if text.startswith("GRPC_EXPERIMENTS=")]
    assert found == ([f"GRPC_EXPERIMENTS={GRPC_EXPERIMENTS}"] if folder.startswith("services/") else [])


def test_installs_from_the_lock_with_hashes(stages: list[Stage], folder: str) -> None:
    runs = " && ".join(stages[0].all("RUN"))
    assert "--require-hashes" in runs
    assert f"tools.image locked {folder} " in runs
    assert f"tools.image members {folder} " in runs
    later = [text for stage in stages[1:] for text in stage.all("RUN")]
    assert not [text for text in later if re.search(r"\b(pip|apt|apt-get|curl|wget)\b", text)]


def test_lock_blocks_keep_hashes_and_markers() -> None:
    wanted = "c==2 ; sys_platform == 'win32' \\\n    --hash=sha256:2\nc==3 \\\n    --hash=sha256:3\n"
    lock = "# head\na-b==1 \\\n    --hash=sha256:1\n" + wanted
    assert image.lock_blocks(lock, ["c"]) == wanted
    with pytest.raises(KeyError, match="zlib-x"):
        image.lock_blocks(lock, ["a-b", "zlib-x"])


def test_builders_are_in_the_lock(capsys: pytest.CaptureFixture[str]) -> None:
    assert image.main(["builders"]) == 0
    pinned = [line for line in capsys.readouterr().out.splitlines() if "==" in line]
    assert {"uv", "hatchling"} <= {image.name_of(line) for line in pinned}


def test_third_party_requirements_leave_out_our_own_and_what_is_not_wanted() -> None:
    lines = image.third_party(image.members_of("services/billing"), ["chdb"])
    names = {image.name_of(line) for line in lines}
    assert "clickhouse-connect" in names
    assert "chdb" not in names
    assert not any(name.startswith("tollgate-") for name in names)
