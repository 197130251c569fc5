"""The `tollgate` command: what it is made of, and how it ends."""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tollgate_cli.errors import Failure
from tollgate_cli.output import print_failure

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Directory of the product's state. Else TOLLGATE_HOME, else .tollgate.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
RequestsOption = Annotated[
    int | None, typer.Option("--requests-per-minute", min=0, help="Requests in 60 seconds; 0 is no limit.")
]
TokensOption = Annotated[
    int | None, typer.Option("--tokens-per-minute", min=0, help="Tokens, in and out, in 60 seconds; 0 is no limit.")
]
ConcurrencyOption = Annotated[
    int | None, typer.Option("--concurrency", min=0, help="Requests that are open at once; 0 is no limit.")
]
BudgetOption = Annotated[
    str | None,
    typer.Option("--budget", help="What may be spent, such as 25 or 0.5, in the wallet's currency; 0 is no limit."),
]
WindowOption = Annotated[str | None, typer.Option("--budget-window", help="day, month or total; a month if left out.")]
EPILOG = """Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 product not reachable.

Commands find the product by --home or TOLLGATE_HOME, or by TOLLGATE_URL and TOLLGATE_TOKEN."""


def build() -> typer.Typer:
    """Returns the command line application."""
    app = typer.Typer(
        name="tollgate",
        help="Run Tollgate and look after it.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command("up", help=_help(up))(up)
    app.command("down", help=_help(down))(down)
    app.command("doctor", help=_help(doctor))(doctor)
    keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
    keys.command("create", help=_help(keys_create))(keys_create)
    keys.command("list", help=_help(keys_list))(keys_list)
    keys.command("revoke", help=_help(keys_revoke))(keys_revoke)
    app.add_typer(keys, name="keys")
    limits = typer.Typer(help="Show and set limits of keys, projects and organizations.", no_args_is_help=True)
    limits.command("list", help=_help(limits_list))(limits_list)
    limits.command("show", help=_help(limits_show))(limits_show)
    limits.command("set", help=_help(limits_set))(limits_set)
    app.add_typer(limits, name="limits")
    app.command("usage", help=_help(usage))(usage)
    app.command("version", help=_help(version))(version)
    return app


def _help(command: Callable[..., None]) -> str:
    """Returns a command's help, whose examples keep their lines."""
    return inspect.cleandoc(command.__doc__ or "").replace(r"\b", "\b")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        build()(words)
    except Failure as failure:
        print_failure(failure, as_json="--json" in words)
        sys.exit(failure.code)


def up(
    *,
    home: HomeOption = None,
    config: Annotated[
        list[Path] | None, typer.Option("--config", help="File or directory of declared resources; may be repeated.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Public port; the next free one when taken.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes of edge and of router, each.")] = 1,
    ready_file: Annotated[Path | None, typer.Option(help="Write the ready file here too.")] = None,
    logs: Annotated[bool, typer.Option("--logs", help="Show what all processes log.")] = False,
    no_demo: Annotated[bool, typer.Option("--no-demo", help="Make no organization, credit and key.")] = False,
    as_json: JsonOption = False,
) -> None:
    r"""Run the whole product on this machine until Ctrl-C.

    \b
    tollgate up
    tollgate up --port 9000 --logs
    OPENAI_API_KEY=... tollgate up --config tollgate.yaml --workers 2
    """
    from tollgate_cli.commands.up import run_up

    run_up(home, config or [], port, workers, ready_file, logs=logs, demo=not no_demo, as_json=as_json)


def down(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""Stop what `tollgate up` started.

    \b
    tollgate down
    tollgate down --home /srv/tollgate
    """
    from tollgate_cli.commands.down import run_down

    run_down(home, dict(os.environ), as_json=as_json)


def doctor(
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
    no_requests: Annotated[
        bool, typer.Option("--no-requests", help="Send no model requests; they cost a little and are billed.")
    ] = False,
) -> None:
    r"""Check that the product works, from the outside in, and say what to mend.

    \b
    tollgate doctor
    TOLLGATE_URL=https://ai.example.com TOLLGATE_TOKEN=... TOLLGATE_API_KEY=... tollgate doctor
    """
    from tollgate_cli.commands.doctor import run_doctor

    run_doctor(home, dict(os.environ), as_json=as_json, requests=not no_requests)


def keys_create(
    *,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    organization: Annotated[str | None, typer.Option(help="Id of the organization; else the first.")] = None,
    project: Annotated[str | None, typer.Option(help="Id of the project; else the first.")] = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrency: ConcurrencyOption = None,
    budget: BudgetOption = None,
    budget_window: WindowOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Make an API key. It is shown once.

    \b
    tollgate keys create laptop
    tollgate keys create ci --project proj_01... --json | jq -r .key
    tollgate keys create intern --requests-per-minute 60 --concurrency 2
    """
    from tollgate_cli.commands.keys import create
    from tollgate_cli.commands.limits import read_budget

    limits = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrency": concurrency,
        "budget": read_budget(budget, budget_window),
    }
    create(home, dict(os.environ), name, organization, project, limits, as_json=as_json)


def keys_list(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""List API keys; never their secrets.

    \b
    tollgate keys list
    """
    from tollgate_cli.commands.keys import show

    show(home, dict(os.environ), as_json=as_json)


def keys_revoke(
    *,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Revoke an API key. It is refused within a second.

    \b
    tollgate keys revoke key_01...
    """
    from tollgate_cli.commands.keys import revoke

    revoke(home, dict(os.environ), key_id, as_json=as_json)


def limits_list(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""List whoever has a limit or pays later.

    \b
    tollgate limits list
    """
    from tollgate_cli.commands.limits import show_all

    show_all(home, dict(os.environ), as_json=as_json)


def limits_show(
    *,
    owner_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a key, a project or an organization.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Show the limits of a key, a project or an organization.

    \b
    tollgate limits show key_01...
    """
    from tollgate_cli.commands.limits import show

    show(home, dict(os.environ), owner_id, as_json=as_json)


def limits_set(
    *,
    owner_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a key, a project or an organization.")],
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrency: ConcurrencyOption = None,
    budget: BudgetOption = None,
    budget_window: WindowOption = None,
    payment: Annotated[
        str | None, typer.Option(help="prepaid or postpaid, of an organization: whether a wallet pays ahead.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Set limits of a key, a project or an organization. They hold within a second.

    \b
    tollgate limits set key_01... --requests-per-minute 600 --tokens-per-minute 100000
    tollgate limits set proj_01... --budget 25 --budget-window month --concurrency 0
    tollgate limits set org_01... --payment postpaid
    """
    from tollgate_cli.commands.limits import change, read_budget

    changes = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrency": concurrency,
        "budget": read_budget(budget, budget_window),
        "payment": payment,
    }
    change(home, dict(os.environ), owner_id, changes, as_json=as_json)


def usage(
    *,
    group_by: Annotated[str, typer.Option(help="model, day, project, key …; several separated by commas.")] = "model",
    start: Annotated[str | None, typer.Option("--from", help="First day or time, such as 2026-11-01.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="First day or time after it.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Show what was used and what it cost.

    \b
    tollgate usage
    tollgate usage --group-by model,day --from 2026-11-01 --to 2026-12-01 --json
    """
    from tollgate_cli.commands.usage import run_usage

    run_usage(home, dict(os.environ), group_by, start, end, as_json=as_json)


def version(*, as_json: JsonOption = False) -> None:
    r"""Show the version.

    \b
    tollgate version --json
    """
    from tollgate_cli.commands.version import run_version

    run_version(as_json=as_json)
