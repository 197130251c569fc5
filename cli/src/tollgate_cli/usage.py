"""`tollgate usage` and the commands below it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tollgate_cli.options import ChartOption, CsvOption, HomeOption, JsonOption, ParquetOption, help_of

OfOption = Annotated[
    str | None,
    typer.Option("--organization", metavar="NAME", help="Name or id of an organization; for operators, else all."),
]
RowsOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many rows at most.")]


def usage_app() -> typer.Typer:
    """Returns the group of commands; without one of them it shows sums."""
    app = typer.Typer(help=help_of(sums), invoke_without_command=True)
    app.callback()(sums)
    for name, command in (
        ("views", views),
        ("view", view),
        ("sql", sql),
        ("export", export),
        ("isolation", isolation),
        ("refill", refill),
        ("rebuild", rebuild),
        ("take-back", take_back),
    ):
        app.command(name, help=help_of(command))(command)
    return app


def sums(
    context: typer.Context,
    *,
    group_by: Annotated[
        str, typer.Option(help="model, day, project, key, member, tag …; several separated by commas.")
    ] = "model",
    start: Annotated[str | None, typer.Option("--from", help="First day or time, such as 2026-11-01.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="First day or time after it.")] = None,
    organization: Annotated[
        str | None, typer.Option("--organization", help="Name or id of an organization; for operators, else all.")
    ] = None,
    project: Annotated[str | None, typer.Option(metavar="ID", help="Of this project only.")] = None,
    key: Annotated[str | None, typer.Option(metavar="ID", help="Of this API key only.")] = None,
    member: Annotated[str | None, typer.Option(metavar="NAME", help="Of this member's keys only.")] = None,
    tag: Annotated[str | None, typer.Option(help="Of keys with this tag only.")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model only.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    parquet: ParquetOption = None,
    chart: ChartOption = False,
) -> None:
    r"""Show what was used and what it cost. By tag, a request of a key with two tags counts in both groups.

    \b
    tollgate usage
    tollgate usage --group-by model,day --from 2026-11-01 --to 2026-12-01 --json
    tollgate usage --group-by day --organization acme --chart
    tollgate usage --group-by member,model --tag search
    tollgate usage view spend_by_model since=7d --csv
    """
    if context.invoked_subcommand is not None:
        return
    from tollgate_cli.commands.usage import run_usage
    from tollgate_cli.tables import Form

    form = Form.chosen(as_json=as_json, as_csv=as_csv, parquet=parquet, chart=chart)
    query = {
        "group_by": group_by,
        "from": start,
        "to": end,
        "project_id": project,
        "api_key_id": key,
        "member": member,
        "tag": tag,
        "model": model,
    }
    run_usage(home, dict(os.environ), query, organization, form)


def views(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""List the questions about usage that are kept as views, with their parameters and columns.

    \b
    tollgate usage views
    tollgate usage views --json
    """
    from tollgate_cli.commands.usage import run_views

    run_views(home, dict(os.environ), as_json=as_json)


def view(
    *,
    name: Annotated[str, typer.Argument(help="Name of the view, such as spend_by_model; `tollgate usage views`.")],
    parameters: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Its parameters, such as since=7d.")
    ] = None,
    organization: OfOption = None,
    limit: RowsOption = 1_000,
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    parquet: ParquetOption = None,
    chart: ChartOption = False,
) -> None:
    r"""Show the answer of a view.

    \b
    tollgate usage view spend_by_model
    tollgate usage view top_keys since=30d top=5 --organization acme --chart
    tollgate usage view channel_errors channel=openai-main since=6h --csv
    tollgate usage view invoice_lines since=last-month until=month --parquet invoice.parquet
    """
    from tollgate_cli.commands.usage import run_view
    from tollgate_cli.tables import Form

    form = Form.chosen(as_json=as_json, as_csv=as_csv, parquet=parquet, chart=chart)
    run_view(home, dict(os.environ), name, parameters or [], organization, limit, form)


def sql(
    *,
    query: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT; - reads it from standard input.")],
    limit: RowsOption = 1_000,
    home: HomeOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    parquet: ParquetOption = None,
    chart: ChartOption = False,
) -> None:
    r"""Run one SELECT over the usage store, for operators: read-only, within limits of memory, time and rows.

    Tables are usage_events, usage_1m, usage_1h and usage_1d; views take their parameters in brackets.

    \b
    tollgate usage sql "SELECT model, sum(charge) FROM usage_1d GROUP BY model"
    tollgate usage sql - --csv < question.sql
    """
    from tollgate_cli.commands.usage import run_sql
    from tollgate_cli.tables import Form

    form = Form.chosen(as_json=as_json, as_csv=as_csv, parquet=parquet, chart=chart)
    run_sql(home, dict(os.environ), query, limit, form)


def export(
    *,
    month: Annotated[str, typer.Argument(metavar="MONTH", help="Such as 2026-11, in UTC.")],
    file: Annotated[Path, typer.Option("--parquet", metavar="FILE", help="The file to write.")],
    organization: OfOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Write the usage rows of an organization and a month to a Parquet file.

    \b
    tollgate usage export 2026-10 --organization acme --parquet october.parquet
    """
    from tollgate_cli.commands.usage import run_export

    run_export(home, dict(os.environ), month, organization, file, as_json=as_json)


def isolation(
    *,
    organization: Annotated[str, typer.Argument(metavar="ORGANIZATION", help="Its name or id.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Print the statements that give an organization's analysts their own rows on a ClickHouse server.

    An administrator of the server reads and runs them. Their form was checked by the engine; no test has run them.

    \b
    tollgate usage isolation org_01... > isolation.sql
    """
    from tollgate_cli.commands.usage import run_isolation

    run_isolation(home, dict(os.environ), organization, as_json=as_json)


def refill(
    *,
    rollup: Annotated[
        str | None, typer.Argument(metavar="[minute|hour|day]", help="Which sums; all three when left out.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day or time; else a day before the end.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="First day or time after it; else now.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which sums differ.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Make sums by minute, hour or day again from usage rows, while usage is booked.

    Whole minutes, hours or days of the time are made again, a day at a time and each at once: to break it off and to
    run it again does no harm. Rows have to be right before: `tollgate reconcile` names those that are missing, and
    `tollgate usage rebuild` brings them back.

    \b
    tollgate usage refill hour --from 2026-11-01 --to 2026-11-02 --dry-run
    tollgate usage refill hour --from 2026-11-01 --to 2026-11-02
    tollgate usage refill --json
    """
    from tollgate_cli.commands.mending import run_refill

    run_refill(home, dict(os.environ), rollup, start, end, dry_run=dry_run, as_json=as_json)


def rebuild(
    *,
    start: Annotated[
        str | None, typer.Option("--from", help="First day or time of the log; else 90 days before the end.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="First day or time after it; else now.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written and taken away.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Write usage rows that are missing again, from the events that the event log still keeps, while usage is booked.

    For a usage store that was lost, or a part of it. Nothing is charged: ledger and wallets stay as they are, and rows
    come back only where with them a batch is what the ledger booked. Rows that were inserted again, which reconcile
    calls repeated_event, are taken away with what sums have of them. Exits with 1 and names what cannot be rebuilt,
    such as what the log no longer keeps. To break it off and to run it again does no harm.

    \b
    tollgate usage rebuild --dry-run
    tollgate usage rebuild
    tollgate usage rebuild --from 2026-11-01 --to 2026-11-02 --json
    """
    from tollgate_cli.commands.mending import run_rebuild

    run_rebuild(home, dict(os.environ), start, end, dry_run=dry_run, as_json=as_json)


def take_back(
    *,
    start: Annotated[
        str | None, typer.Option("--from", help="First day or time of booking; else 90 days before the end.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="First day or time after it; else now.")] = None,
    organization: Annotated[str | None, typer.Option(help="Name or id of one; else all of them.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Take it back; else it is only shown.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Show what requests were charged twice, and take the second charge back with --apply. Each is taken back once.

    \b
    tollgate usage take-back
    tollgate usage take-back --from 2026-11-01 --to 2026-11-02 --apply
    tollgate usage take-back --organization acme --apply --json
    """
    from tollgate_cli.commands.mending import run_take_back

    asked = {"from": start, "to": end, "apply": apply}
    run_take_back(home, dict(os.environ), asked, organization, as_json=as_json)
