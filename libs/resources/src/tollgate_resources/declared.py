"""Everything that can be declared, together."""

from tollgate_resources.catalogue import Provider
from tollgate_resources.models import Channel, ExchangeRate, PriceBook, Resource, Route


class Declared(Resource):
    """Everything one owner declares."""

    providers: tuple[Provider, ...] = ()
    channels: tuple[Channel, ...] = ()
    routes: tuple[Route, ...] = ()
    price_books: tuple[PriceBook, ...] = ()
    exchange_rates: tuple[ExchangeRate, ...] = ()
