"""`tollgate prices check | diff | what-if | rerate | schema`."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tollgate_cli.commands.tenants import ask_of_organization
from tollgate_cli.errors import Failure, check_there
from tollgate_cli.output import print_json, print_table

if TYPE_CHECKING:
    from tollgate_resources import Catalogue, CatalogueModel, Declared, PriceBook

CHANGES = ("model", "where", "unit", "old", "new", "percent")
ROWS = ("organization_id", "project_id", "model", "requests", "charged", "would", "difference")
# Kinds of models whose every request uses tokens in and out, and how one looks that the catalogue does not know.
_TALKING = ("chat", "completion")
_OF_TALKING = ("input", "output", "request")
# What chats use beside tokens.
_COUNTED = ("search", "tool_call")
RERATED = ("organization_id", "project_id", "model", "price_digest", "currency", "requests", "charge", "cost")
LEFT_OUT = {
    "no_price": "no price book in force at their time has all their prices (add them to it, or name one with --book)",
    "no_exchange_rate": "no exchange rate to their organization's currency was in force",
    "no_currency": "their organization has no money and no credit line yet, so that its currency is not known",
    "too_dear": "they would cost more than one request may, in their currency or in the price book's",
    "lost_rows": "usage rows of them are lost, and they may be charged already (see tollgate usage rebuild)",
    "too_old": "they began more than 89 days ago (see tollgate credit correct)",
}
MONEY = ("requests", "charged", "would", "difference")


def read_declared(files: Sequence[Path]) -> "Declared":
    """Returns what files declare. Raises Failure that lists every problem with its line."""
    from tollgate_resources import load, load_catalogue

    check_there(files)
    loaded = load(files, load_catalogue())
    if loaded.problems:
        raise Failure(
            "\n".join(str(problem) for problem in loaded.problems),
            advice="docs/guides/configuration.md#price-books describes the format.",
            details=[
                {"file": one.file, "line": one.line, "field": one.field, "found": one.found, "allowed": one.allowed}
                for one in loaded.problems
            ],
        )
    return loaded.declared()


def read_books(files: Sequence[Path]) -> "list[PriceBook]":
    """Returns the price books of files. Raises Failure that lists every problem with its line."""
    return list(read_declared(files).price_books)


def read_book(file: Path, name: str | None) -> "PriceBook":
    """Returns the one price book that is meant: of a series the newest. Raises Failure."""
    books = [book for book in read_books([file]) if name is None or book.name == name]
    names = sorted({book.name for book in books})
    if not books:
        raise Failure(
            f"{file} has no price book{f' called {name}' if name else ''}.", advice="It needs `price_books:`."
        )
    if len(names) > 1:
        raise Failure(f"{file} has the price books {', '.join(names)}.", advice=f"Say which: --book {names[0]}.")
    return max(books, key=lambda book: book.effective)


def check(files: Sequence[Path], *, as_json: bool) -> None:
    """Shows the books of files, and warns of units that requests will use and that have no price. Raises Failure."""
    declared = read_declared(files)
    books = list(declared.price_books)
    warnings = _missing_prices(books, declared)
    rows = [
        {
            "name": book.name,
            "effective": book.effective.isoformat(),
            "currency": book.currency,
            "models": len(book.models),
            "digest": book.rated().digest,
        }
        for book in books
    ]
    if as_json:
        print_json({"items": rows, "next": None, "warnings": warnings})
        return
    print_table(tuple(rows[0]) if rows else ("name",), [list(row.values()) for row in rows], numbers=("models",))
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _missing_prices(books: "Sequence[PriceBook]", declared: "Declared | None" = None) -> list[str]:
    """Returns where a book prices chats in part: their tokens, and what the catalogue knows that they use beside."""
    from tollgate_resources import load_catalogue

    catalogue = load_catalogue()
    served = _served(catalogue, declared)
    listed = {model: prices for book in catalogue.price_books for model, prices in book.models.items()}
    found = []
    for book in books:
        rated = book.rated()
        priced = [("", model) for model in book.models]
        priced += [(name, model) for name, group in book.groups.items() for model in group.models]
        for group, model in sorted(priced):
            price, known = rated.price(model, group), served.get(model, ())
            if price is None:
                continue
            if not (any(one.kind in _TALKING for one in known) if known else any(map(price.names, _OF_TALKING))):
                continue
            beside = [unit for one in known for unit in _beside(one, listed.get(one.name, {}))]
            tokens = [unit for unit in ("input", "output") if not price.knows((unit,))]
            others = [unit for unit in dict.fromkeys(beside) if not price.knows((unit,))]
            if tokens or others:
                where = f"group {group}, " if group else ""
                found.append(
                    f"book {book.name} of {book.effective.isoformat()}, {where}model {model}: no price of "
                    f"{' and '.join([*tokens, *others])}; {_what_then(tokens, others)}"
                )
    return found


def _served(catalogue: "Catalogue", declared: "Declared | None") -> "dict[str, list[CatalogueModel]]":
    """Returns what the catalogue knows of each public name: of the name, or of models that channels serve under it."""
    served = {name: [model] for name, model in catalogue.models.items()}
    if declared is None:
        return served
    catalogue = catalogue.with_providers(declared.providers)
    providers = {channel.name: channel.provider for channel in declared.channels}
    offers = [(one.name, channel.name, one.upstream) for channel in declared.channels for one in channel.models]
    for route in declared.routes:
        targets = (target for level in route.levels for target in level.targets)
        offers += [(route.model, target.channel, target.upstream) for target in targets]
    for name, channel, upstream in offers:
        provider = catalogue.providers.get(providers.get(channel, ""))
        if provider is None:
            continue
        known = catalogue.by_upstream.get((provider.simulates or provider.name, upstream or name))
        if known is not None:
            served.setdefault(name, []).append(known)
    return served


def _beside(known: "CatalogueModel", listed: Mapping[str, str]) -> list[str]:
    """Returns what a chat with a model can use beside tokens; kinds of a unit are left out where it is there."""
    able = ["search"] if "web_search" in known.abilities else []
    counted = [unit for unit in listed if unit.startswith(_COUNTED)]
    return able + [unit for unit in counted if unit.partition(":")[0] == unit or unit.partition(":")[0] not in listed]


def _what_then(tokens: list[str], others: list[str]) -> str:
    free = f"a request that uses {' or '.join(tokens)} is charged nothing and marked as unpriced" if tokens else ""
    refused = f"a chat that asks for {' or '.join(others)} is refused" if others else ""
    return ", ".join(filter(None, (free, refused)))


def diff(old: Path, new: Path, name: str | None, *, as_json: bool) -> None:
    """Shows what differs. Raises Failure."""
    from tollgate_resources.price_diff import price_diff

    one, other = read_book(old, name), read_book(new, name)
    if one.currency != other.currency:
        raise Failure(f"{old} is in {one.currency} and {new} in {other.currency}: prices cannot be compared.")
    rows = [{column: getattr(change, column) for column in CHANGES} for change in price_diff(one, other)]
    if as_json:
        print_json({"old": one.rated().digest, "new": other.rated().digest, "items": rows, "next": None})
        return
    if rows:
        print_table(CHANGES, [list(row.values()) for row in rows], numbers=("old", "new", "percent"))
        print()
    print(f"{len(rows)} prices differ." if rows else "No price differs.")


def what_if(
    home: Path | None,
    environment: Mapping[str, str],
    file: Path,
    name: str | None,
    span: tuple[str, str],
    organization: str | None,
    *,
    as_json: bool,
) -> None:
    """Shows what usage would have cost. Raises Failure."""
    book = read_book(file, name)
    asked = {"book": book.model_dump(mode="json", exclude_none=True), "from": span[0], "to": span[1]}
    found = ask_of_organization(home, environment, "/api/v1/prices/what-if", asked, organization)
    if as_json:
        print_json(found)
        return
    if found["rows"]:
        print_table(ROWS, [[row[column] for column in ROWS] for row in found["rows"]], numbers=MONEY)
        print()
    total = found["total"]
    print(f"{total['requests']} requests: {total['charged']} {found['currency']} were charged, ", end="")
    print(f"{total['would']} would have been: {total['difference']}.")
    for what, text in (
        ("not_in_draft", "are of models that the draft leaves out"),
        ("unpriced", "used a unit without a price in it"),
    ):
        if total[what]:
            print(f"{total[what]} of them {text}, and count as they were charged.")
    if found["other_currency_requests"]:
        print(f"{found['other_currency_requests']} requests were priced in another currency and are not counted.")


def rerate(
    home: Path | None,
    environment: Mapping[str, str],
    asked: Mapping[str, Any],
    organization: str | None,
    *,
    as_json: bool,
) -> None:
    """Shows what requests without a price come to, or charges them. Raises Failure."""
    found = ask_of_organization(home, environment, "/api/v1/prices/rerate", asked, organization)
    if as_json:
        print_json(found)
        return
    if found["rows"]:
        rows = [
            [str(row[name])[:19] if name == "price_digest" else row[name] for name in RERATED] for row in found["rows"]
        ]
        print_table(RERATED, rows, numbers=RERATED[-3:])
        print()
    if found["shortened"]:
        print("There are more lines than these; ask for one organization or a shorter time to see them.")
    for reason, count in found["left_out"].items():
        print(f"{count} requests stay without a price: {LEFT_OUT.get(reason, reason)}.")
    if found["applied"]:
        print(f"{found['sent']} requests are charged as soon as billing has booked them, in a few seconds.")
    elif found["rows"]:
        print("Nothing is changed; --apply charges them.")
    else:
        print("There is nothing to charge.")


def schema() -> None:
    """Prints the JSON Schema of what can be declared."""
    from tollgate_resources import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
