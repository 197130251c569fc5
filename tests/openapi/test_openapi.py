"""The product answers as its published description says, whoever asks; `make openapi` draws more requests."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import sdk_packages
from tests.integration.product import Product
from tests.openapi.run import FOLDER, check

pytestmark = pytest.mark.integration

BOUNDS = ("--phases", "examples,fuzzing", "--max-examples", "2", "--seed", "1")


@pytest.fixture(scope="module")
def own_product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product that may be left in any state: budgets and organizations of it are made at random."""
    sdk_packages.python(FOLDER, "schemathesis")
    running = Product(tmp_path_factory.mktemp("openapi"))
    try:
        yield running.start()
    finally:
        running.stop()


# Elsewhere each is refused; `make openapi` asks that too.
@pytest.mark.parametrize(("whose", "paths"), [("api_key", "^/(?!api/v1/)"), ("admin_key", "^/api/v1/")])
def test_replies_are_as_described(own_product: Product, tmp_path: Path, whose: str, paths: str) -> None:
    bounds = (*BOUNDS, "--include-path-regex", paths)
    assert check(own_product.url, getattr(own_product, whose), tmp_path, bounds) == ""


def test_a_reply_that_is_not_as_described_is_found(own_product: Product, tmp_path: Path) -> None:
    described = own_product.api.get("/api/openapi.json").json()
    operation = described["paths"]["/api/status"]["get"]
    operation["responses"]["200"]["content"]["application/json"]["schema"] = {"type": "object", "required": ["planted"]}
    described["paths"] = {"/api/status": {"get": operation}}
    file = tmp_path / "described.json"
    file.write_text(json.dumps(described), encoding="utf-8")
    said = check(own_product.url, own_product.api_key, tmp_path, BOUNDS, str(file))
    assert '"planted" is a required property' in said
