"""A product with a provider's key in its environment: that provider's channel, and no simulator. Nothing is sent."""

from collections.abc import Iterator

import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration
KEY = "sk-not-a-real-key"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = Product(tmp_path_factory.mktemp("keyed"), environment={"OPENAI_API_KEY": KEY})
    try:
        yield running.start()
    finally:
        running.stop()


def test_a_key_in_the_environment_makes_its_channel_and_starts_no_simulator(keyed: Product) -> None:
    assert "simulator" not in keyed.ready["processes"]
    (router,) = keyed.get("router")["routers"]
    assert [(one["channel"], one["provider"], one["usable"]) for one in router["channels"]] == [
        ("openai", "openai", True)
    ]
    said = keyed.child.log.read_text(encoding="utf-8")
    assert "Tollgate is up." in said
    assert "simulated" not in said
    assert KEY not in said
    assert KEY not in str(router)
