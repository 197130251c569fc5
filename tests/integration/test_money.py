"""After a thousand mixed requests, the provider's ledger, the usage store, the ledger and the wallet agree exactly."""

from collections import Counter
from collections.abc import Iterator

import pytest
from tests.integration.audit import Auditor, check_answers, check_money, check_prices, check_replies, check_units
from tests.integration.product import Product
from tests.integration.traffic import Crowd, mixed_calls

pytestmark = pytest.mark.integration

REQUESTS = 1000


async def test_a_thousand_requests_add_up_in_every_book(product: Product) -> None:
    await _add_up(product)


@pytest.fixture
def on_servers(tmp_path_factory: pytest.TempPathFactory, servers: dict[str, str]) -> Iterator[Product]:
    """The product with its data on servers of their own."""
    product = Product(tmp_path_factory.mktemp("servers"), environment=servers)
    try:
        yield product.start()
    finally:
        product.stop()


async def test_they_add_up_on_servers_of_their_own(on_servers: Product) -> None:
    assert "valkey" not in on_servers.ready["processes"]
    assert not list(on_servers.home.rglob("*.sqlite*"))
    assert not (on_servers.home / "usage").exists() or not list((on_servers.home / "usage").iterdir())
    await _add_up(on_servers)


async def _add_up(product: Product) -> None:
    auditor = Auditor(product)
    crowd = Crowd(product.base_url, auditor.key)
    await crowd.send(mixed_calls(REQUESTS, seed=3))
    answers = crowd.answers
    answered = Counter(answer.call.kind for answer in answers if answer.answered)
    sent = Counter(answer.call.kind for answer in answers)
    whole = ("chat", "stream", "embeddings", "image")
    assert {kind: answered[kind] for kind in whole} == {kind: sent[kind] for kind in whole}, product.child.tail()
    assert set(answered) == set(whole)
    assert len({answer.request_id for answer in answers if answer.request_id}) == sum(
        bool(answer.request_id) for answer in answers
    )
    books = auditor.close([answer.request_id for answer in answers if answer.request_id])
    check_money(books)
    check_answers(books, answers)
    check_replies(books, answers)
    check_units(books)
    check_prices(books, product.simulator_url)
