"""Runbooks name signals that exist: log lines and metrics of the code as it is."""

import re
from pathlib import Path

import pytest

from tollgate_billing import telemetry as billing
from tollgate_edge import telemetry as edge
from tollgate_media_jobs import telemetry as media_jobs
from tollgate_router import telemetry as router

pytestmark = pytest.mark.contract

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in (ROOT / "docs/runbooks").glob("*.md") if path.name != "README.md")
DECLARED = {family.name for service in (edge, router, billing, media_jobs) for family in service.FAMILIES}
_LOG = re.compile(r"^- log of [^:]+: `([^`]+)`$", re.MULTILINE)
_METRIC = re.compile(r"^- metric: `tollgate_(edge|router|billing|media_jobs)_([a-z_]+)`$", re.MULTILINE)


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    found = {}
    for folder in [*ROOT.glob("services/*/src/tollgate_*"), *ROOT.glob("libs/*/src/tollgate_*")]:
        name = folder.name.removeprefix("tollgate_")
        found[name] = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_says_what_to_look_for_and_what_to_do(page: Path) -> None:
    headings = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == ["Signals", "What it means", "What to do", "Afterwards"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_log_lines_exist(page: Path, sources: dict[str, str]) -> None:
    code = "\n".join(sources.values())
    for line in _LOG.findall(page.read_text(encoding="utf-8")):
        assert f'"{line}"' in code, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_metrics_exist(page: Path) -> None:
    for service, name in _METRIC.findall(page.read_text(encoding="utf-8")):
        assert f"tollgate_{service}_{name}" in DECLARED


def test_signals_are_found_at_all() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert len(_LOG.findall(text)) >= 8
    assert len(_METRIC.findall(text)) >= 4


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert f"({page.name})" in index
