"""What documents and deployment files declare is accepted by the code that reads it at start."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tollgate_resources import Declared, load, load_catalogue

pytestmark = pytest.mark.contract

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/reference/tollgate.schema.json").read_text(encoding="utf-8")))
KINDS = {"providers", "channels", "routes", "price_books", "exchange_rates"}
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "services/*/README.md")
    for path in ROOT.glob(pattern)
)


def blocks(page: Path) -> list[dict[str, Any]]:
    """Returns the YAML examples of a page that declare something, on their own or as the chart's `config`."""
    found = []
    for text in re.findall(r"^ *```yaml\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        value = yaml.safe_load(text)
        value = value.get("config", value) if isinstance(value, dict) else {}
        if KINDS & set(value):
            found.append(value)
    return found


def problems(declared: dict[str, Any], folder: Path) -> list[str]:
    path = folder / "tollgate.yaml"
    path.write_text(yaml.safe_dump(declared), encoding="utf-8")
    return [str(problem) for problem in load([path], load_catalogue()).problems]


EXAMPLES = [pytest.param(block, id=f"{page.name}-{i}") for page in PAGES for i, block in enumerate(blocks(page))]


@pytest.mark.parametrize("block", EXAMPLES)
def test_an_example_of_a_document_has_the_right_shape(block: dict[str, Any]) -> None:
    declared = Declared.model_validate(block)
    assert declared.providers or declared.channels or declared.routes or declared.price_books or declared.exchange_rates


@pytest.mark.parametrize("block", EXAMPLES)
def test_an_example_passes_the_schema_that_editors_read(block: dict[str, Any]) -> None:
    # Editors see times as the text that they are.
    plain = json.loads(json.dumps(block, default=lambda value: value.isoformat()))
    assert [error.message for error in SCHEMA.iter_errors(plain)] == []


@pytest.mark.parametrize("wrong", [{"chanels": []}, {"channels": [{"name": "a"}]}, {"channels": [{"name": 1}]}])
def test_the_schema_refuses_what_is_not_declared_so(wrong: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid(wrong)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


def test_what_compose_declares_loads() -> None:
    loaded = load([ROOT / "deploy/compose/tollgate.yaml"], load_catalogue())
    assert not loaded.problems
    assert loaded.declared().channels


def test_what_the_local_cluster_declares_loads(tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "deploy/local/values.yaml").read_text(encoding="utf-8"))
    assert problems(values["config"], tmp_path) == []


def test_a_planted_error_is_found(tmp_path: Path) -> None:
    assert problems({"channels": [{"name": "A", "provider": "nobody", "models": "*"}]}, tmp_path)


def test_the_chart_takes_exactly_the_kinds_that_can_be_declared(chart: Any) -> None:
    assert set(chart.schema["properties"]["config"]["properties"]) == set(Declared.model_fields) == KINDS
