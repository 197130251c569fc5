"""`tollgate rates check | list`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tollgate_cli.commands.prices import read_declared
from tollgate_cli.commands.tenants import show_all
from tollgate_cli.output import print_json, print_table

COLUMNS = ("base", "quote", "rate", "effective", "digest")


def check(files: Sequence[Path], *, as_json: bool) -> None:
    """Shows the exchange rates of files. Raises Failure."""
    rates = [
        {
            "base": rate.base,
            "quote": rate.quote,
            "rate": rate.rate,
            "effective": rate.effective.isoformat(),
            "digest": rate.rated().digest,
        }
        for rate in read_declared(files).exchange_rates
    ]
    if as_json:
        print_json({"items": rates, "next": None})
    else:
        print_table(COLUMNS, [[rate[name] for name in COLUMNS] for rate in rates], numbers=("rate",))


def show(home: Path | None, environment: Mapping[str, str], *, as_json: bool) -> None:
    """Lists the exchange rates of the configuration. Raises Failure."""
    columns = (*COLUMNS[:-1], "in_force", "digest")
    show_all("/api/v1/exchange-rates", columns, home, environment, as_json=as_json)
