"""Which book is in force for a model, a group and a moment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate_rating import GroupRule, InvalidPrice, PriceBook, PriceTable

pytestmark = pytest.mark.unit


def book(name, effective_us, models, groups=None):
    prices = {model: {"input": price} for model, price in models.items()}
    return PriceBook(name=name, effective_us=effective_us, currency="USD", models=prices, groups=groups)


def found(table, model, at_us, group="default"):
    price = table.find(model, group, at_us)
    return None if price is None else price.unit_price("input")


def test_the_newest_effective_version_is_in_force_as_a_whole():
    table = PriceTable([book("public", 200, {"a": "2"}), book("public", 100, {"a": "1", "b": "1"})])
    assert [found(table, "a", at) for at in (99, 100, 199, 200, 10**18)] == [None, "1", "1", "2", "2"]
    assert [found(table, "b", at) for at in (99, 100, 199, 200)] == [None, "1", "1", None]
    assert found(table, "unknown", 200) is None


def test_public_wins_over_the_catalogue_per_model():
    table = PriceTable([book("catalogue", 0, {"a": "1", "b": "1"}), book("public", 100, {"a": "9"})])
    assert [found(table, "a", at) for at in (0, 100)] == ["1", "9"]
    assert [found(table, "b", at) for at in (0, 100)] == ["1", "1"]


def test_books_of_other_names_answer_only_to_their_digest():
    draft = book("draft", 0, {"a": "7"})
    table = PriceTable([draft, book("public", 0, {"b": "1"})])
    assert found(table, "a", 1) is None
    price = table.by_digest(draft.digest, "a", "default")
    assert price is not None
    assert price.unit_price("input") == "7"
    assert price.digest == draft.digest
    assert table.by_digest("sha256:00", "a", "default") is None
    assert table.by_digest(draft.digest, "b", "default") is None
    assert draft.digest in table.digests()


def test_a_group_pays_by_its_rule_whatever_was_asked_before():
    table = PriceTable([book("public", 0, {"a": "2"}, {"half": GroupRule("0.5", {"extra": {"input": "3"}})})])
    assert found(table, "a", 1) == "2"
    assert found(table, "a", 1, "half") == "1"
    assert found(table, "a", 1, "stranger") == "2"
    assert found(table, "extra", 1, "half") == "3"
    assert found(table, "extra", 1) is None


def test_the_price_says_which_book_it_is_from():
    public = book("public", 100, {"a": "2"})
    catalogue = book("catalogue", 0, {"a": "1"})
    table = PriceTable([public, catalogue])
    before, after = table.find("a", "default", 50), table.find("a", "default", 150)
    assert before is not None
    assert after is not None
    assert (before.digest, before.book) == (catalogue.digest, "catalogue")
    assert (after.digest, after.book, after.currency, after.model) == (public.digest, "public", "USD", "a")
    assert table.find("a", "default", 151) is after


def test_two_different_versions_at_one_time_are_refused():
    with pytest.raises(InvalidPrice, match="public"):
        PriceTable([book("public", 5, {"a": "1"}), book("public", 5, {"a": "2"})])
    PriceTable([book("public", 5, {"a": "1"}), book("public", 5, {"a": "1.0"})])


def test_callers_cannot_make_the_table_grow():
    table = PriceTable([book("public", 0, {"a": "2"}, {"half": GroupRule("0.5")})])
    for number in range(1000):
        table.find(f"invented-{number}", "default", 1)
        table.find("a", f"group-{number}", 1)
    assert len(table._found) == 1


@given(
    versions=st.lists(
        st.tuples(st.sampled_from(["public", "catalogue"]), st.integers(0, 20), st.sampled_from(["a", "b"])),
        unique_by=lambda version: version[:2],
        max_size=8,
    ),
    at_us=st.integers(-1, 22),
    model=st.sampled_from(["a", "b"]),
)
def test_find_agrees_with_a_plain_search(versions, at_us, model):
    books = [book(name, start, {priced: str(index + 1)}) for index, (name, start, priced) in enumerate(versions)]
    expected = None
    for series in ("public", "catalogue"):
        past = [version for version in enumerate(versions, 1) if version[1][0] == series and version[1][1] <= at_us]
        newest = max(past, key=lambda version: version[1][1], default=None)
        if newest is not None and newest[1][2] == model:
            expected = str(newest[0])
            break
    assert found(PriceTable(books), model, at_us) == expected


@given(
    books=st.dictionaries(st.integers(0, 50), st.integers(0, 9), min_size=1, max_size=5),
    new=st.integers(0, 50),
    price=st.integers(0, 9),
    at=st.integers(0, 60),
)
def test_a_book_changes_nothing_before_its_time(books, new, price, at):
    def book(when, input_price):
        return PriceBook(name="public", effective_us=when, currency="USD", models={"m": {"input": str(input_price)}})

    def rate(table):
        found = table.find("m", "", at)
        return None if found is None else found.rate({"input": 7})

    old = [book(when, one) for when, one in books.items() if when != new]
    before, after = rate(PriceTable(old)), rate(PriceTable([*old, book(new, price)]))
    if at < new:
        assert after == before
    elif all(when <= new or when > at for when in books):
        assert after == price * 7 * 10**6
