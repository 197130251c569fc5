"""The commands that say what became of a request: and whether the books agree: `requests`, `evidence`, `reconcile`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tollgate_cli.options import HomeOption, JsonOption, help_of


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.command("requests", help=help_of(requests))(requests)
    app.command("evidence", help=help_of(evidence))(evidence)
    app.command("reconcile", help=help_of(reconcile))(reconcile)


def requests(
    *,
    organization: Annotated[str | None, typer.Option(help="Name or id of an organization; else all.")] = None,
    project: Annotated[str | None, typer.Option(metavar="ID", help="Id of a project.")] = None,
    key: Annotated[str | None, typer.Option(metavar="ID", help="Id of an API key.")] = None,
    member: Annotated[str | None, typer.Option(metavar="NAME", help="Of this member's keys.")] = None,
    tag: Annotated[str | None, typer.Option(help="Of keys with this tag.")] = None,
    model: Annotated[str | None, typer.Option(help="The model that answered or was refused.")] = None,
    outcome: Annotated[str | None, typer.Option(help="ok, refused, cancelled, upstream_error …")] = None,
    error: Annotated[str | None, typer.Option(help="Code of a refusal or kind of a failure.")] = None,
    http_status: Annotated[int | None, typer.Option(help="Of a refused request, such as 429.")] = None,
    trace: Annotated[str | None, typer.Option(metavar="ID", help="Trace id, 32 digits.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day or time, such as 2026-11-01.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="First day or time after it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most rows.")] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""List single requests, newest first: what was used, and what was refused and why.

    \b
    tollgate requests
    tollgate requests --outcome refused --key key_01...
    tollgate requests --http-status 429 --from 2026-11-01 --json
    tollgate requests --member ada@example.com --tag search --from 2026-11-01
    tollgate requests --trace 0af7651916cd43dd8448eb211c80319c
    """
    from tollgate_cli.commands.requests import show

    query = {
        "organization_id": organization,
        "project_id": project,
        "api_key_id": key,
        "member": member,
        "tag": tag,
        "model": model,
        "outcome": outcome,
        "error": error,
        "http_status": http_status,
        "trace_id": trace,
        "from": start,
        "to": end,
        "limit": limit,
    }
    show(home, dict(os.environ), query, as_json=as_json)


def evidence(
    *,
    request_id: Annotated[str, typer.Argument(metavar="ID", help="The x-request-id of a reply, or a trace id.")],
    link: Annotated[bool, typer.Option("--link", help="Make a link for support that needs no key.")] = False,
    expires: Annotated[str, typer.Option(help="How long the link is good: 30m, 24h or 7d.")] = "24h",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Show all that is known of a request, but nothing of what was said in it.

    Who asked, which way it went, what it cost and why, and where that is booked. A link shows less: neither how
    providers are bought from nor names of keys.

    \b
    tollgate evidence req_5f0c6d1e2a3b4c5d00000007
    tollgate evidence req_5f0c6d1e2a3b4c5d00000007 --json
    tollgate evidence req_5f0c6d1e2a3b4c5d00000007 --link --expires 24h
    """
    from tollgate_cli.commands.evidence import make_link, show

    if link:
        make_link(home, dict(os.environ), request_id, expires, as_json=as_json)
    else:
        show(home, dict(os.environ), request_id, as_json=as_json)


def reconcile(
    *,
    start: Annotated[str | None, typer.Option("--from", help="First day or time; else a day before the end.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="First day or time after it; else now.")] = None,
    statement: Annotated[Path | None, typer.Option(help="A provider's export of costs, JSON or CSV.")] = None,
    provider: Annotated[str, typer.Option(help="Of the statement: openai or anthropic.")] = "openai",
    tolerance: Annotated[
        float, typer.Option(min=0, max=100, help="Of the statement: what may differ, in percent of a day and model.")
    ] = 1.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Compare usage rows, ledger, wallets, holds and spools, and name what differs. Nothing is changed.

    Exits with 1 when something differs, each by the request or the batch that it concerns. With --statement it compares
    what a provider says that we cost it with our costs, by day and model.

    \b
    tollgate reconcile
    tollgate reconcile --from 2026-11-01 --to 2026-11-02
    tollgate reconcile --json | jq -r '.error.details.differences[].request_ids[]'
    tollgate reconcile --statement costs.csv --provider openai --tolerance 2
    """
    from tollgate_cli.commands.reconcile import compare_statement, run_reconcile

    if statement is not None:
        compare_statement(home, dict(os.environ), statement, provider, tolerance, as_json=as_json)
        return
    run_reconcile(home, dict(os.environ), start, end, as_json=as_json)
