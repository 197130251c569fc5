"""The commands about prices, and statements of what was paid."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tollgate_cli.options import HomeOption, JsonOption, OrganizationOption, add

BookOption = Annotated[str | None, typer.Option("--book", help="Name of the price book, where a file has several.")]


def add_prices(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    prices = typer.Typer(
        help="Check, compare, try and import price books; charge what had no price.", no_args_is_help=True
    )
    add(prices, "check", prices_check)
    add(prices, "diff", prices_diff)
    add(prices, "what-if", prices_what_if)
    add(prices, "rerate", prices_rerate)
    add(prices, "import", prices_import)
    add(prices, "schema", prices_schema)
    app.add_typer(prices, name="prices")
    rates = typer.Typer(help="Check and list exchange rates.", no_args_is_help=True)
    add(rates, "check", rates_check)
    add(rates, "list", rates_list)
    app.add_typer(rates, name="rates")
    add(app, "statement", statement)


def prices_check(
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of declared resources.")],
    as_json: JsonOption = False,
) -> None:
    r"""Check price books in files and show their digests; each mistake with its line. Needs no product.

    \b
    tollgate prices check prices.yaml
    """
    from tollgate_cli.commands.prices import check

    check(files, as_json=as_json)


def prices_diff(
    *,
    old: Annotated[Path, typer.Argument(metavar="A", help="File with the one price book.")],
    new: Annotated[Path, typer.Argument(metavar="B", help="File with the other.")],
    book: BookOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Show every price that differs between two files. Needs no product.

    \b
    tollgate prices diff prices-november.yaml prices-december.yaml
    """
    from tollgate_cli.commands.prices import diff

    diff(old, new, book, as_json=as_json)


def prices_what_if(
    *,
    file: Annotated[Path, typer.Argument(metavar="BOOK.yaml", help="File with the draft.")],
    start: Annotated[str, typer.Option("--from", help="First day or time, such as 2026-11-01.")],
    end: Annotated[str, typer.Option("--to", help="First day or time after it.")],
    organization: Annotated[str | None, typer.Option(help="Name or id of one; else all of them.")] = None,
    book: BookOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Show what real usage would have cost under a draft, by organization, project and model. Changes nothing.

    \b
    tollgate prices what-if draft.yaml --from 2026-11-01 --to 2026-11-08
    """
    from tollgate_cli.commands.prices import what_if

    what_if(home, dict(os.environ), file, book, (start, end), organization, as_json=as_json)


def prices_rerate(
    *,
    start: Annotated[str, typer.Option("--from", help="First day or time that requests began, such as 2026-11-01.")],
    end: Annotated[str, typer.Option("--to", help="First day or time after it.")],
    organization: Annotated[str | None, typer.Option(help="Name or id of one; else all of them.")] = None,
    model: Annotated[str | None, typer.Option(help="One model; else all of them.")] = None,
    book: Annotated[
        str | None,
        typer.Option("--book", metavar="DIGEST", help="A price book to rate all by; else each by the one of its time."),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Charge them; else it is only shown.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Show what requests without a price come to now, and charge them with --apply. Each is charged once.

    \b
    tollgate prices rerate --from 2026-11-01 --to 2026-12-01
    tollgate prices rerate --from 2026-11-01 --to 2026-12-01 --model new-model --apply
    tollgate prices rerate --from 2026-11-01 --to 2026-12-01 --organization acme --book sha256:9b1c… --apply
    """
    from tollgate_cli.commands.prices import rerate

    asked = {"from": start, "to": end, "model": model, "price_digest": book, "apply": apply}
    rerate(home, dict(os.environ), asked, organization, as_json=as_json)


def prices_import(
    *,
    file: Annotated[Path, typer.Argument(help="The other gateway's file.")],
    form: Annotated[str, typer.Option("--format", help="litellm: a cost map. newapi: ratio settings.")],
    name: Annotated[str, typer.Option(help="Name of the price book.")] = "public",
    effective: Annotated[str, typer.Option(help="When it becomes effective, with its zone.")] = "2026-01-01T00:00:00Z",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; else it is printed.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave entries out that cannot be read.")] = False,
    as_json: JsonOption = False,
) -> None:
    r"""Make a price book of LiteLLM's cost map or New API's ratio settings. Needs no product.

    \b
    tollgate prices import --format litellm model_prices_and_context_window.json -o prices.yaml
    tollgate prices import --format newapi ratio_config.json --skip-bad -o prices.yaml
    """
    from tollgate_cli.commands.price_import import run_import

    run_import(file, form, name, effective, output, skip_bad=skip_bad, as_json=as_json)


def prices_schema(*, as_json: JsonOption = False) -> None:  # noqa: ARG001 - as every command has it.
    r"""Print the JSON Schema of `tollgate.yaml`, price books included, for editors. It is JSON with and without --json.

    \b
    tollgate prices schema > tollgate.schema.json
    """
    from tollgate_cli.commands.prices import schema

    schema()


def rates_check(
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of declared resources.")],
    as_json: JsonOption = False,
) -> None:
    r"""Check exchange rates in files and show their digests; each mistake with its line. Needs no product.

    \b
    tollgate rates check rates.yaml
    """
    from tollgate_cli.commands.rates import check

    check(files, as_json=as_json)


def rates_list(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""List the exchange rates of the running product, and which are in force.

    \b
    tollgate rates list
    """
    from tollgate_cli.commands.rates import show

    show(home, dict(os.environ), as_json=as_json)


def statement(
    *,
    month: Annotated[str, typer.Argument(help="Such as 2026-11, in UTC.")],
    organization: OrganizationOption = None,
    form: Annotated[str, typer.Option("--format", help="table, json, csv, html or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; else it is printed.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Show what an organization paid in a month, by project, model and price book.

    \b
    tollgate statement 2026-11 --organization acme
    tollgate statement 2026-11 --organization acme --format html -o acme-2026-11.html
    tollgate statement 2026-11 --organization acme --format parquet -o acme-2026-11.parquet
    """
    from tollgate_cli.commands.statement import show

    show(home, dict(os.environ), month, organization, "json" if as_json else form, output)
