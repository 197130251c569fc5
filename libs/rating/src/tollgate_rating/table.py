"""All books of a configuration version: which price is in force for a model, a group and a moment."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

from tollgate_rating.book import PriceBook
from tollgate_rating.errors import InvalidPrice, NoRate
from tollgate_rating.exchange import ExchangeRate, RateTable
from tollgate_rating.price import ModelPrice

SERIES = ("public", "catalogue")
_NO_RULE = ""
# Moments, and the price in force from each of them on.
_Timeline = tuple[Sequence[int], tuple[ModelPrice | NoRate | None, ...]]


class PriceTable:
    """Finds prices. Books of one name are one series, of which the newest that is effective is in force as a whole.

    The series are asked in the order of `series`, the first whose book in force knows the model answers; books of
    other names are reached only by `by_digest`. `rates` convert prices for who pays in another currency. Raises
    InvalidPrice when two books of a series, or two rates of a pair, begin at one time.
    """

    def __init__(
        self, books: Iterable[PriceBook], series: Sequence[str] = SERIES, rates: Iterable[ExchangeRate] = ()
    ) -> None:
        books = tuple(books)
        self.rates = RateTable(rates)
        self._by_digest = {book.digest: book for book in books}
        self._series = [
            sorted((book for book in self._by_digest.values() if book.name == name), key=lambda book: book.effective_us)
            for name in series
        ]
        for versions in self._series:
            for older, newer in pairwise(versions):
                if older.effective_us == newer.effective_us:
                    raise InvalidPrice(f"two different books {newer.name!r} become effective at {newer.effective_us}")
        self._models = frozenset[str]().union(*(book.models() for book in books))
        self._groups = frozenset[str]().union(*(book.groups() for book in books))
        # Keys are models and groups that books name, so that callers' inventions cannot make it grow; currencies are
        # those of organizations.
        self._found: dict[tuple[str, str, str], _Timeline] = {}
        # When prices of a book's own currency may change, and those of others. Shared, so that of a model only its own
        # prices are read from memory.
        books_start = {book.effective_us for versions in self._series for book in versions}
        self._starts = sorted(books_start)
        self._converted_starts = sorted(books_start | self.rates.starts())

    def find(self, model: str, group: str, at_us: int, currency: str = "") -> ModelPrice | None:
        """Returns the price in force at `at_us` (microseconds since the epoch), or None when no book has one.

        With `currency` the price is in it: the book's own, or converted by the rate in force at the same moment; raises
        NoRate when there is none.
        """
        if group not in self._groups:
            group = _NO_RULE
        timeline = self._found.get((model, group, currency))
        if timeline is None:
            if model not in self._models:
                return None
            timeline = self._found[model, group, currency] = self._timeline(model, group, currency)
        starts, prices = timeline
        position = bisect_right(starts, at_us)
        price = prices[position - 1] if position else None
        if isinstance(price, NoRate):
            raise NoRate(price.base, price.quote)
        return price

    def by_digest(self, digest: str, model: str, group: str) -> ModelPrice | None:
        """Returns the model's price in the book with this content address, whenever that is in force."""
        book = self._by_digest.get(digest)
        return None if book is None else book.price(model, group)

    def digests(self) -> frozenset[str]:
        """Returns the content addresses of all books."""
        return frozenset(self._by_digest)

    def _timeline(self, model: str, group: str, currency: str) -> _Timeline:
        starts = self._converted_starts if currency else self._starts
        return starts, tuple(self._converted(self._in_force(model, group, start), currency, start) for start in starts)

    def _converted(self, price: ModelPrice | None, currency: str, at_us: int) -> ModelPrice | NoRate | None:
        if price is None or currency in {"", price.currency}:
            return price
        rate = self.rates.find(price.currency, currency, at_us)
        return NoRate(price.currency, currency) if rate is None else price.converted(rate)

    def _in_force(self, model: str, group: str, at_us: int) -> ModelPrice | None:
        for versions in self._series:
            current = [book for book in versions if book.effective_us <= at_us]
            price = current[-1].price(model, group) if current else None
            if price is not None:
                return price
        return None
