"""After a thousand mixed requests, the provider's ledger, the usage store, the ledger and the wallet agree exactly."""

from collections import Counter
from collections.abc import Iterator

import pytest
from tests.integration.audit import check_answers, check_money, check_prices, check_units, close_books
from tests.integration.product import Product
from tests.integration.traffic import Crowd, mixed_calls

pytestmark = pytest.mark.integration

REQUESTS = 1000


@pytest.fixture
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product alone on the machine, with nobody else's requests in its books."""
    product = Product(tmp_path_factory.mktemp("money"))
    try:
        yield product.start()
    finally:
        product.stop()


async def test_a_thousand_requests_add_up_in_every_book(embedded: Product) -> None:
    await _add_up(embedded)


async def _add_up(product: Product) -> None:
    crowd = Crowd(product.base_url, product.api_key)
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
    books = close_books(product, [answer.request_id for answer in answers if answer.request_id])
    check_money(books)
    check_answers(books, answers)
    check_units(books)
    check_prices(books, product.simulator_url)
