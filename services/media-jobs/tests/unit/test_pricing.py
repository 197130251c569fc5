"""Money of a job: what is held covers whatever it may cost, and what is charged is what was drawn."""

import itertools

import pytest
from media_jobs_fakes.bench import TENANT, book

from tollgate_media_jobs.adapters.configuration import load_abilities
from tollgate_media_jobs.domain.job import ImageRequest, Job, Reported
from tollgate_media_jobs.domain.pricing import drawn_as, worst_case
from tollgate_media_jobs.use_cases.usage_event import Picture, bill
from tollgate_rating import PriceBook, image_unit
from tollgate_resources import load_catalogue

pytestmark = pytest.mark.unit

ABILITIES = load_abilities()


def job(image, model="gpt-image-1"):
    return Job("job_1", "req_1", TENANT, model, image, 0, 0, 0)


def test_units_leave_out_what_is_not_known():
    assert image_unit("1024x1024", "low") == "image:1024x1024:low"
    assert image_unit("1024x1024", "") == "image:1024x1024"
    assert image_unit("", "low") == "image"


@pytest.mark.parametrize("name", [model.name for model in load_catalogue().models.values() if model.kind == "image"])
@pytest.mark.parametrize(
    ("size", "quality", "count"), [("", "", 1), ("1024x1024", "low", 10), ("", "high", 3), ("1024x1024", "", 2)]
)
def test_the_hold_covers_every_bill(name, size, quality, count):
    (catalogue,) = (one for one in load_catalogue().price_books if one.name == "catalogue")
    rated = catalogue.rated()
    price, ability = rated.price(name, "default"), ABILITIES.of(name)
    image = ImageRequest("ein roter Fuchs 🦊", size, quality, count)
    held = worst_case(price, image, ability)
    assert held is not None
    sizes = [size] if size else ["1024x1024", "1024x1536", "1536x1024"]
    tokens = {"input": len(image.prompt.encode()), "image_output": count * ability.output_tokens}
    for drawn, shade in itertools.product(sizes, [quality] if quality else ["low", "medium", "high"]):
        charged = bill(job(image, name), rated, [Picture(drawn, shade)] * count, Reported(tokens))
        assert not charged.unpriced
        assert 0 < charged.charge_pico <= held


def test_a_model_without_any_price_is_not_free_but_unpriced():
    other = PriceBook(name="public", effective_us=0, currency="USD", models={"x": {"request": "1"}})
    assert worst_case(other.price("x", ""), ImageRequest("a"), ABILITIES.of("x")) is None
    charged = bill(job(ImageRequest("a"), "x"), other, [Picture("1x1", "")], Reported())
    assert charged.unpriced
    assert charged.charge_pico == 0
    assert bill(job(ImageRequest("a")), None, [Picture("1x1", "")], Reported()).unpriced


def test_pictures_are_counted_by_size_and_quality_and_rated_once():
    pictures = [Picture("1024x1024", "low"), Picture("1024x1024", "high"), Picture("1024x1024", "low")]
    charged = bill(job(ImageRequest("a")), book(), pictures, Reported({"input": 1_000_000}))
    assert [(one.size, one.quality, one.count) for one in charged.usage.images] == [
        ("1024x1024", "high", 1),
        ("1024x1024", "low", 2),
    ]
    assert charged.charge_pico == 250_000_000_000 + 2 * 11_000_000_000 + 5_000_000_000_000


def test_where_only_tokens_are_priced_pictures_are_no_unit_of_the_bill():
    tokens = PriceBook(
        name="public", effective_us=0, currency="USD", models={"t": {"input": "5", "image_output": "30"}}
    )
    charged = bill(job(ImageRequest("a"), "t"), tokens, [Picture("1x1", "")], Reported({"image_output": 1000}))
    assert not charged.usage.images
    assert charged.charge_pico == 30 * 10**12 // 1000
    assert bill(job(ImageRequest("a"), "t"), tokens, [Picture("1x1", "")], Reported()).unpriced


TEXT = {"input": "5", "output": "10"}


@pytest.mark.parametrize(
    ("prices", "reported", "charge"),
    [
        # The tokens of a picture have a price: they are paid, and the picture is not paid again.
        (TEXT | {"image_output": "30", "image": "0.04"}, {"image_output": 1000}, 30_000_000_000),
        # The same, but the provider reports nothing: the picture is paid.
        (TEXT | {"image_output": "30", "image": "0.04"}, {}, 40_000_000_000),
        # Only the picture has a price: neither the price of text nor any other is asked of its tokens.
        (TEXT | {"image": "0.04"}, {"input": 1000, "image_output": 1000}, 45_000_000_000),
        (TEXT | {"image:1x1": "0.04"}, {"input": 1000, "image_output": 1000}, 45_000_000_000),
        # Nothing but the picture has a price.
        ({"image": "0.04"}, {"input": 1000, "cache_read": 10, "image_output": 1000}, 40_000_000_000),
        # The picture's price covers the tokens, and the book says so.
        (TEXT | {"image": "0.04", "image_output": "0"}, {"image_output": 1000}, 40_000_000_000),
        # A fee for the call, however many pictures it draws.
        ({"request": "0.04", "image": "0", "input": "0", "output": "0"}, {"image_output": 1000}, 40_000_000_000),
        ({"request": "0.04", "image": "0.01"}, {}, 50_000_000_000),
        # No picture has a price: its tokens are text, as far as the book goes.
        (TEXT, {"image_output": 1000}, 10_000_000_000),
    ],
)
def test_a_picture_is_paid_once_by_itself_or_by_its_tokens(prices, reported, charge):
    rated = PriceBook(name="public", effective_us=0, currency="USD", models={"m": prices})
    charged = bill(job(ImageRequest("a"), "m"), rated, [Picture("1x1", "low")], Reported(reported))
    assert not charged.unpriced
    assert charged.charge_pico == charge
    assert charged.usage.requests == 1
    held = worst_case(rated.price("m", ""), ImageRequest("a" * 1000), ABILITIES.of("m"))
    assert held is not None
    assert held >= charge


@pytest.mark.parametrize(
    ("asked", "reported", "expected"),
    [
        (("1024x1024", "low"), ("", ""), ("1024x1024", "low")),
        (("1024x1024", "low"), ("1536x1024", "high"), ("1536x1024", "high")),
        (("", ""), ("", ""), ("2x2", "")),
        (("auto", "auto"), ("", "auto"), ("2x2", "")),
    ],
)
def test_the_provider_says_first_what_it_drew(asked, reported, expected):
    assert drawn_as(ImageRequest("a", *asked), Reported({}, *reported), 2, 2) == expected
