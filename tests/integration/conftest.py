"""What the tests of the whole product share."""

from collections.abc import Iterator

import pytest
from tests.integration.product import Product


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product with its simulated provider, one for all tests: each makes a key of its own where it counts."""
    running = Product(tmp_path_factory.mktemp("product"))
    try:
        yield running.start()
    finally:
        running.stop()
