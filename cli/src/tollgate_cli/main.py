"""The `tollgate` command: what it is made of, and how it ends."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tollgate_cli import audit
from tollgate_cli.client_app import add_clients
from tollgate_cli.controls import add_controls
from tollgate_cli.errors import Failure
from tollgate_cli.key_options import (
    CidrsOption,
    EndpointsOption,
    ExpiresOption,
    MemberOption,
    ModelsOption,
    TagsOption,
    keys_import,
)
from tollgate_cli.letters import letters_app
from tollgate_cli.money import add_money
from tollgate_cli.options import HomeOption, JsonOption, OrganizationOption, help_of
from tollgate_cli.output import print_failure
from tollgate_cli.prices import add_prices
from tollgate_cli.usage import usage_app

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
    app.command("up", help=help_of(up))(up)
    app.command("down", help=help_of(down))(down)
    add_clients(app)
    organizations = typer.Typer(help="Make and list organizations, and give them credit.", no_args_is_help=True)
    organizations.command("create", help=help_of(organizations_create))(organizations_create)
    organizations.command("list", help=help_of(organizations_list))(organizations_list)
    organizations.command("credit", help=help_of(organizations_credit))(organizations_credit)
    app.add_typer(organizations, name="organizations")
    projects = typer.Typer(help="Make and list projects.", no_args_is_help=True)
    projects.command("create", help=help_of(projects_create))(projects_create)
    projects.command("list", help=help_of(projects_list))(projects_list)
    app.add_typer(projects, name="projects")
    keys = typer.Typer(help="Make, import, list and revoke API keys.", no_args_is_help=True)
    keys.command("create", help=help_of(keys_create))(keys_create)
    keys.command("import", help=help_of(keys_import))(keys_import)
    keys.command("list", help=help_of(keys_list))(keys_list)
    keys.command("revoke", help=help_of(keys_revoke))(keys_revoke)
    app.add_typer(keys, name="keys")
    limits = typer.Typer(help="Show and set limits of keys, projects and organizations.", no_args_is_help=True)
    limits.command("list", help=help_of(limits_list))(limits_list)
    limits.command("show", help=help_of(limits_show))(limits_show)
    limits.command("set", help=help_of(limits_set))(limits_set)
    app.add_typer(limits, name="limits")
    add_money(app)
    add_controls(app)
    app.add_typer(usage_app(), name="usage")
    audit.add_commands(app)
    app.add_typer(letters_app(), name="dlq")
    add_prices(app)
    route = typer.Typer(help="Say where requests go, and why.", no_args_is_help=True)
    # A group with one command stays a group.
    route.callback()(_group)
    route.command("explain", help=help_of(route_explain))(route_explain)
    app.add_typer(route, name="route")
    channels = typer.Typer(help="List channels, and hold them back.", no_args_is_help=True)
    channels.command("list", help=help_of(channels_list))(channels_list)
    channels.command("drain", help=help_of(channels_drain))(channels_drain)
    channels.command("disable", help=help_of(channels_disable))(channels_disable)
    channels.command("enable", help=help_of(channels_enable))(channels_enable)
    app.add_typer(channels, name="channels")
    app.command("version", help=help_of(version))(version)
    return app


def _group() -> None:
    pass


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
    no_demo: Annotated[
        bool, typer.Option("--no-demo", help="Make no organization, credit and key, and simulate no provider.")
    ] = False,
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


def organizations_create(
    *,
    name: Annotated[str, typer.Argument(help="Its name; there is one of each.")],
    currency: Annotated[str, typer.Option(help="What it pays in, for good: USD or CNY.")] = "USD",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Make an organization: the tenant that pays. It begins without projects and without money.

    \b
    tollgate organizations create acme
    tollgate organizations create acme-cn --currency CNY
    """
    from tollgate_cli.commands.tenants import create_organization

    create_organization(home, dict(os.environ), name, currency.upper(), as_json=as_json)


def organizations_list(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""List organizations.

    \b
    tollgate organizations list
    """
    from tollgate_cli.commands.tenants import show_organizations

    show_organizations(home, dict(os.environ), as_json=as_json)


def organizations_credit(
    *,
    organization: Annotated[str, typer.Argument(help="Name or id of the organization.")],
    amount: Annotated[str, typer.Argument(help="How much to add, in its currency, such as 100 or 12.50.")],
    reason: Annotated[str, typer.Option(help="What the ledger says about it.")] = "credit",
    idempotency_key: Annotated[
        str | None, typer.Option(help="Credit once for this key, however often the command runs.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Add money to an organization's wallet.

    \b
    tollgate organizations credit acme 100 --reason "invoice 117" --idempotency-key invoice-117
    """
    from tollgate_cli.commands.tenants import give_credit

    give_credit(home, dict(os.environ), organization, amount, reason, idempotency_key, as_json=as_json)


def projects_create(
    *,
    name: Annotated[str, typer.Argument(help="Its name; an organization has one of each.")],
    organization: Annotated[
        str | None, typer.Option(help="Name or id of the organization; needed where there are several.")
    ] = None,
    price_group: Annotated[str | None, typer.Option(help="What it pays; `default` when left out.")] = None,
    route_group: Annotated[str | None, typer.Option(help="Which channels it uses; `default` when left out.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Make a project in an organization: a cost centre with its keys, prices and channels.

    \b
    tollgate projects create web
    tollgate projects create batch --organization acme --price-group partner --route-group eu
    """
    from tollgate_cli.commands.tenants import create_project

    groups = {"price_group": price_group, "route_group": route_group}
    create_project(home, dict(os.environ), name, organization, groups, as_json=as_json)


def projects_list(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""List projects.

    \b
    tollgate projects list
    """
    from tollgate_cli.commands.tenants import show_projects

    show_projects(home, dict(os.environ), as_json=as_json)


def keys_create(
    *,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    organization: OrganizationOption = None,
    project: Annotated[str | None, typer.Option(help="Name or id of the project; else the first.")] = None,
    model: ModelsOption = None,
    endpoint: EndpointsOption = None,
    cidr: CidrsOption = None,
    tag: TagsOption = None,
    member: MemberOption = None,
    expires: ExpiresOption = None,
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
    tollgate keys create intern --requests-per-minute 60 --concurrency 2
    tollgate keys create shop --model gpt-5-mini --endpoint chat --cidr 203.0.113.0/24 --expires 30d
    tollgate keys create bot --tag search --tag batch
    tollgate keys create laptop --member ada@example.com
    tollgate keys create ci --organization acme --project web --json | jq -r .key
    """
    from tollgate_cli.commands.keys import create, expiry
    from tollgate_cli.commands.limits import read_budget
    from tollgate_kit.clock import SystemClock

    limits = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrency": concurrency,
        "budget": read_budget(budget, budget_window),
    }
    try:
        expires_at = expiry(expires, SystemClock().now_us() / 1e6)
    except (ValueError, OverflowError):
        raise typer.BadParameter("a time from now as in 12h, 30d, 8w, or a date", param_hint="--expires") from None
    terms = {
        "models": model,
        "endpoints": endpoint,
        "cidrs": cidr,
        "tags": tag,
        "member": member,
        "expires_at": expires_at,
    }
    create(home, dict(os.environ), name, organization, project, limits, terms, as_json=as_json)


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


_OPERATION_HELP = (
    "What is asked: chat (if left out), embeddings, completions, moderations, rerank, speech, transcriptions or "
    "translations."
)
_DIALECT_HELP = (
    "What the request is written in: openai-chat, openai-responses, anthropic or gemini. If left out: what the body "
    "tells, else openai-chat."
)


def route_explain(
    *,
    model: Annotated[str, typer.Argument(help="The model that a request would name.")],
    key: Annotated[str | None, typer.Option(metavar="ID", help="Ask for this API key, by its id.")] = None,
    group: Annotated[str | None, typer.Option(help="Ask for this route group; without a key.")] = None,
    body: Annotated[Path | None, typer.Option(help="JSON file with the body of a request.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="NAME:VALUE of the request; may be repeated.")] = None,
    operation: Annotated[str | None, typer.Option(help=_OPERATION_HELP)] = None,
    dialect: Annotated[str | None, typer.Option(help=_DIALECT_HELP)] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Show which targets a request has, why each is in or out, and which would be taken now. Nothing is sent.

    \b
    tollgate route explain gpt-5.1
    tollgate route explain gpt-5.1 --key key_01... --body request.json --json
    tollgate route explain gpt-5.1 --dialect anthropic --body messages.json
    """
    from tollgate_cli.commands.route import explain

    explain(
        home,
        dict(os.environ),
        model,
        key_id=key,
        group=group,
        body_file=body,
        headers=header or [],
        operation=operation,
        dialect=dialect,
        as_json=as_json,
    )


def channels_list(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""List channels as each router sees them, and what of them is held back.

    \b
    tollgate channels list
    """
    from tollgate_cli.commands.channels import show

    show(home, dict(os.environ), as_json=as_json)


NameArgument = Annotated[str, typer.Argument(help="The channel's name.")]
ReasonOption = Annotated[str | None, typer.Option(help="Why, for those who look later.")]


def channels_drain(
    *, name: NameArgument, reason: ReasonOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    r"""Give a channel no new requests; those that are open go on, and probes too.

    \b
    tollgate channels drain openai-main --reason "the account moves"
    """
    from tollgate_cli.commands.channels import set_mode

    set_mode(home, dict(os.environ), name, "draining", reason, as_json=as_json)


def channels_disable(
    *, name: NameArgument, reason: ReasonOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    r"""Give a channel no new requests and no probes.

    \b
    tollgate channels disable openai-main --reason "the key leaked"
    """
    from tollgate_cli.commands.channels import set_mode

    set_mode(home, dict(os.environ), name, "disabled", reason, as_json=as_json)


def channels_enable(*, name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""Let a channel serve again, and forget what held it back.

    \b
    tollgate channels enable openai-main
    """
    from tollgate_cli.commands.channels import set_mode

    set_mode(home, dict(os.environ), name, "enabled", None, as_json=as_json)


def version(*, as_json: JsonOption = False) -> None:
    r"""Show the version.

    \b
    tollgate version --json
    """
    from tollgate_cli.commands.version import run_version

    run_version(as_json=as_json)
