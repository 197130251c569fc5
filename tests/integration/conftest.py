"""What the tests of the whole product share."""

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.product import Product


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Notes what a test that has passed proves, where `make support` says into which file: a line of JSON each."""
    report = yield
    proofs = os.environ.get("PROOFS_FILE")
    if proofs and report.when == "call" and report.passed:
        with Path(proofs).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps([*mark.args, item.nodeid]) + "\n" for mark in item.iter_markers("proves"))
    return report


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product with its simulated provider, one for all tests: each makes a key of its own where it counts."""
    running = Product(tmp_path_factory.mktemp("product"))
    try:
        yield running.start()
    finally:
        running.stop()
