"""The commands about budgets, who is told of them, and what looks wrong."""

import os
from typing import Annotated

import typer

from tollgate_cli.options import HomeOption, JsonOption, OrganizationOption, add

BudgetArgument = Annotated[str, typer.Argument(metavar="ID", help="The budget's id, as `budgets list` shows it.")]
DestinationArgument = Annotated[str, typer.Argument(metavar="ID", help="Its id, as `notify list` shows it.")]


def add_controls(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    budgets = typer.Typer(help="Make, list, show and delete budgets.", no_args_is_help=True)
    add(budgets, "create", budgets_create)
    add(budgets, "list", budgets_list)
    add(budgets, "show", budgets_show)
    add(budgets, "delete", budgets_delete)
    app.add_typer(budgets, name="budgets")
    notify = typer.Typer(help="Say who is told of budgets, anomalies and the books.", no_args_is_help=True)
    add(notify, "add", notify_add)
    add(notify, "list", notify_list)
    add(notify, "test", notify_test)
    add(notify, "remove", notify_remove)
    add(notify, "log", notify_log)
    app.add_typer(notify, name="notify")
    add(app, "anomalies", anomalies)


def budgets_create(
    *,
    name: Annotated[str, typer.Argument(help="What people call it; once in each organization.")],
    amount: Annotated[
        str, typer.Argument(help="How much may be spent, such as 100 or 12.50, in the wallet's currency.")
    ],
    project: Annotated[str | None, typer.Option(metavar="ID", help="Of this project only, by name or id.")] = None,
    key: Annotated[str | None, typer.Option(metavar="ID", help="Of this API key only.")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model only.")] = None,
    tag: Annotated[str | None, typer.Option(help="Of keys with this tag only.")] = None,
    member: Annotated[str | None, typer.Option(metavar="NAME", help="Of this member's keys only.")] = None,
    period: Annotated[str, typer.Option(help="day, week, month or total.")] = "month",
    rolling: Annotated[
        int | None, typer.Option(metavar="DAYS", help="The last so many days, in place of a period.")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="Whose days, weeks and months, such as Asia/Shanghai.")] = "UTC",
    notify: Annotated[
        list[int] | None, typer.Option(metavar="PERCENT", help="Tell people at this share; may be repeated.")
    ] = None,
    downgrade: Annotated[
        list[str] | None,
        typer.Option(metavar="PERCENT:MODEL", help="Turn requests to a cheaper model from this share on."),
    ] = None,
    block: Annotated[int | None, typer.Option(metavar="PERCENT", help="Refuse requests from this share on.")] = None,
    organization: OrganizationOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Make a budget. Without --notify, --downgrade or --block people are told at 80 and 100 percent.

    \b
    tollgate budgets create "team a" 500 --project team-a --notify 50 --notify 80 --block 100
    tollgate budgets create trial 5 --key key_01... --period total --block 100
    tollgate budgets create big-model 100 --model gpt-5 --period week --downgrade 90:gpt-5-mini
    tollgate budgets create search 300 --tag search --notify 80 --block 100
    tollgate budgets create ada 50 --member ada@example.com --block 100
    tollgate budgets create all 2000 --rolling 30 --time-zone Asia/Shanghai --json
    """
    from tollgate_cli.commands.budgets import Scope, create, read_thresholds

    body = {
        "name": name,
        "amount": amount,
        "period": "rolling" if rolling is not None else period,
        "days": rolling,
        "time_zone": time_zone,
        "thresholds": read_thresholds(notify or [], downgrade or [], block),
    }
    create(home, dict(os.environ), body, Scope(organization, project, key, model, tag, member), as_json=as_json)


def budgets_list(
    *, organization: OrganizationOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    r"""List budgets and what they have taken.

    \b
    tollgate budgets list
    tollgate budgets list --organization acme --json
    """
    from tollgate_cli.commands.budgets import show_all

    show_all(home, dict(os.environ), organization, as_json=as_json)


def budgets_show(*, budget_id: BudgetArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""Show a budget as it stands now, and when it and the money are used up at the present pace.

    \b
    tollgate budgets show bud_01...
    """
    from tollgate_cli.commands.budgets import show

    show(home, dict(os.environ), budget_id, as_json=as_json)


def budgets_delete(*, budget_id: BudgetArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""Delete a budget. What it refused is served again within seconds.

    \b
    tollgate budgets delete bud_01...
    """
    from tollgate_cli.commands.budgets import delete

    delete(home, dict(os.environ), budget_id, as_json=as_json)


def notify_add(
    *,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    kind: Annotated[str, typer.Argument(help="mail, webhook, feishu, dingtalk, wecom or slack.")],
    target: Annotated[
        str | None, typer.Argument(help="Mail addresses divided by commas, or a URL; left out, it is read from stdin.")
    ] = None,
    secret_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Holds what messages are signed with; - is stdin.")
    ] = None,
    language: Annotated[str, typer.Option(help="en or zh.")] = "en",
    time_zone: Annotated[str, typer.Option(help="Of quiet hours, and of times in messages.")] = "UTC",
    quiet: Annotated[
        str | None, typer.Option(metavar="HH:MM-HH:MM", help="Nothing is sent from then till then.")
    ] = None,
    digest: Annotated[int, typer.Option(metavar="MINUTES", help="Gather messages for so long; 0 sends at once.")] = 0,
    about: Annotated[
        list[str] | None, typer.Option(help="budget, anomaly or books; may be repeated, all if left out.")
    ] = None,
    organization: Annotated[
        str | None, typer.Option("--organization", help="Only what concerns it; else whatever concerns any.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Add who is told. The URL and the secret are never shown again.

    \b
    tollgate notify add ops mail ops@example.com,cfo@example.com --digest 60
    tollgate notify add hook webhook https://example.com/tollgate --secret-file hook.secret
    tollgate notify add group feishu https://open.feishu.cn/open-apis/bot/v2/hook/... --secret-file bot.secret \
        --language zh --time-zone Asia/Shanghai --quiet 22:00-08:00
    tollgate notify add chat slack < slack.url
    tollgate notify add oncall webhook https://pager.example.com/tollgate --secret-file hook.secret --about books
    """
    from tollgate_cli.commands.notify import create

    body = {
        "name": name,
        "kind": kind,
        "target": target,
        "language": language,
        "time_zone": time_zone,
        "digest_minutes": digest,
        "about": about,
    }
    create(home, dict(os.environ), body, organization, quiet, secret_file, as_json=as_json)


def notify_list(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""List who is told, never with a URL or a secret.

    \b
    tollgate notify list
    """
    from tollgate_cli.commands.notify import show

    show(home, dict(os.environ), as_json=as_json)


def notify_test(*, destination_id: DestinationArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""Send a message now, past digest and quiet hours, and say what became of it.

    \b
    tollgate notify test dst_01...
    """
    from tollgate_cli.commands.notify import test

    test(home, dict(os.environ), destination_id, as_json=as_json)


def notify_remove(*, destination_id: DestinationArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""Remove a destination; what waits for it is not sent.

    \b
    tollgate notify remove dst_01...
    """
    from tollgate_cli.commands.notify import remove

    remove(home, dict(os.environ), destination_id, as_json=as_json)


def notify_log(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most rows.")] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""List notices, newest first, and what became of them.

    \b
    tollgate notify log
    tollgate notify log --limit 100 --json
    """
    from tollgate_cli.commands.notify import log

    log(home, dict(os.environ), limit, as_json=as_json)


def anomalies(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most rows.")] = 20,
    organization: OrganizationOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""List what looked wrong in the use of keys, newest first: whose it is, why, and what to do.

    \b
    tollgate anomalies
    tollgate anomalies --organization acme --json
    """
    from tollgate_cli.commands.budgets import show_anomalies

    show_anomalies(home, dict(os.environ), organization, limit, as_json=as_json)
