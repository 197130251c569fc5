"""Every import contract of pyproject.toml fails on a planted violation, and none fails without."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.tidy

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("tollgate_edge", "tollgate_router", "tollgate_billing", "tollgate_media_jobs")

# Contract → the module that breaks it and what it imports; an import of "" is a module that has no place.
PLANTED = {
    "Services never import each other": [("tollgate_edge.app", "tollgate_billing.app")],
    "Libraries import no service": [("tollgate_kit.clock", "tollgate_router.app")],
    "Rating is pure": [("tollgate_rating.book", "tollgate_kit.clock"), ("tollgate_rating.table", "pydantic")],
    "The simulator shares no code with the product": [("tollgate_simulator_provider.app", "tollgate_kit.clock")],
    "Edge is layered": [
        ("tollgate_edge.use_cases.create_key", "tollgate_edge.adapters.sql"),
        ("tollgate_edge.inference.door", "tollgate_edge.app"),
        ("tollgate_edge.api.keys", "tollgate_edge.inference.door"),
        ("tollgate_edge.extras", ""),
    ],
    "Router is layered": [
        ("tollgate_router.domain.choice", "tollgate_router.upstream.client"),
        ("tollgate_router.extras", ""),
    ],
    "Billing is layered": [
        ("tollgate_billing.adapters.sql", "tollgate_billing.settings"),
        ("tollgate_billing.ports", "tollgate_billing.use_cases.book"),
        ("tollgate_billing.extras", ""),
    ],
    "Media-jobs is layered": [
        ("tollgate_media_jobs.use_cases.create", "tollgate_media_jobs.app"),
        ("tollgate_media_jobs.adapters.sql", "tollgate_media_jobs.api.service"),
        ("tollgate_media_jobs.extras", ""),
    ],
    "Only composition roots build adapters": [
        ("tollgate_edge.inference.door", "tollgate_edge.adapters.sql"),
        ("tollgate_router.exchange.request", "tollgate_router.adapters.quiet"),
        ("tollgate_billing.consumers.usage", "tollgate_billing.adapters.quiet"),
        ("tollgate_media_jobs.api.service", "tollgate_media_jobs.adapters.quiet"),
    ],
    "Settings are read by the composition root and the hot path": [
        ("tollgate_router.adapters.sql", "tollgate_router.settings"),
        ("tollgate_edge.api.keys", "tollgate_edge.settings"),
    ],
    "Router calls providers with its own client": [
        ("tollgate_router.upstream.client", "httpx"),
        ("tollgate_router.app", "aiohttp"),
    ],
    "Only edge answers callers over HTTP": [
        ("tollgate_media_jobs.api.service", "fastapi"),
        ("tollgate_kit.admin", "starlette"),
    ],
    "Rules and use cases do no I/O": [
        ("tollgate_billing.domain.ledger", "sqlalchemy"),
        ("tollgate_edge.use_cases.create_key", "grpc"),
        ("tollgate_media_jobs.ports", "aiohttp"),
        ("tollgate_billing.control_ports", "sqlalchemy"),
        ("tollgate_edge.ledger_ports", "grpc"),
    ],
}
CASES = [
    pytest.param(contract, module, imported, id=f"{contract}: {module} imports {imported or 'nothing'}")
    for contract, plants in PLANTED.items()
    for module, imported in plants
]
LAYERS_OF = {
    "tollgate_edge": {"adapters", "api", "consumers", "domain", "use_cases", "inference"},
    "tollgate_router": {"adapters", "api", "domain", "use_cases", "upstream", "exchange"},
    "tollgate_billing": {"adapters", "api", "consumers", "domain", "use_cases"},
    "tollgate_media_jobs": {"adapters", "api", "consumers", "domain", "use_cases"},
}


def contracts() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def write(folder: Path, module: str, text: str) -> None:
    """Writes a module, and the packages it is in."""
    *packages, name = module.split(".")
    for depth in range(1, len(packages) + 1):
        package = folder.joinpath(*packages[:depth])
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
    with (folder.joinpath(*packages) / f"{name}.py").open("a") as file:
        file.write(text)


@pytest.fixture
def skeleton(tmp_path):
    """A tree of all our packages with every layer in place and no import at all."""
    folder = tmp_path / "src"
    for package in contracts()["root_packages"]:
        write(folder, f"{package}.app", "")
    for service, layers in LAYERS_OF.items():
        for single in ("settings", "ports", "errors", "telemetry"):
            write(folder, f"{service}.{single}", "")
        for layer in layers:
            write(folder, f"{service}.{layer}.quiet", "")
    # What plants import must be there.
    planting = (
        "tollgate_kit.clock",
        "tollgate_billing.assembly",
        "tollgate_edge.adapters.sql",
        "tollgate_edge.inference.door",
    )
    for subject in ("control", "ledger", "letter", "mending", "payment", "report", "rerate"):
        write(folder, f"tollgate_billing.{subject}_ports", "")
    write(folder, "tollgate_edge.ledger_ports", "")
    for module in (*planting, "tollgate_edge.faces"):
        write(folder, module, "")
    for module in (
        "tollgate_router.upstream.client",
        "tollgate_billing.use_cases.book",
        "tollgate_media_jobs.api.service",
    ):
        write(folder, module, "")
    return folder


def broken(folder: Path) -> set[str]:
    """Returns the names of the contracts that the linter says are broken in the packages below `folder`."""
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports_command as run; run()"]
    arguments = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False
    )
    assert "Contracts: " in done.stdout, done.stdout + done.stderr
    verdicts = done.stdout.splitlines()
    return {line.removesuffix(" BROKEN") for line in verdicts if line.endswith(" BROKEN")}


def test_every_contract_has_a_plant():
    names = {contract["name"] for contract in contracts()["contracts"]}
    assert names == set(PLANTED)


def test_nothing_is_broken_without_a_plant(skeleton):
    assert broken(skeleton) == set()


@pytest.mark.parametrize(("contract", "module", "imported"), CASES)
def test_the_contract_fails_on_a_planted_violation(contract, module, imported, skeleton):
    write(skeleton, module, f"import {imported}\n" if imported else "")
    assert contract in broken(skeleton)


def test_the_tree_keeps_every_contract():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
