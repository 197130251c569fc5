"""The commands about money: credit, codes, the ledger and wallets."""

import os
from typing import Annotated

import typer

from tollgate_cli.options import HomeOption, JsonOption, OrganizationOption, add

OrganizationArgument = Annotated[str, typer.Argument(help="Name or id of the organization.")]
AmountArgument = Annotated[str, typer.Argument(help="How much, in its currency, such as 100 or 12.50.")]
ReasonOption = Annotated[str | None, typer.Option(help="What the ledger says about it.")]
KeyOption = Annotated[
    str | None, typer.Option("--idempotency-key", help="Do it once for this key, however often the command runs.")
]
PriorityOption = Annotated[int, typer.Option(min=0, max=1000, help="Smaller is spent first.")]


def add_money(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    credit = typer.Typer(help="Grant, refund, correct and transfer money; set credit lines.", no_args_is_help=True)
    add(credit, "grant", credit_grant)
    add(credit, "refund", credit_refund)
    add(credit, "correct", credit_correct)
    add(credit, "transfer", credit_transfer)
    add(credit, "line", credit_line)
    app.add_typer(credit, name="credit")
    codes = typer.Typer(help="Make, redeem, list and withdraw redemption codes.", no_args_is_help=True)
    add(codes, "create", codes_create)
    add(codes, "redeem", codes_redeem)
    add(codes, "list", codes_list)
    add(codes, "revoke", codes_revoke)
    app.add_typer(codes, name="codes")
    topups = typer.Typer(help="Pay money in through a payment provider.", no_args_is_help=True)
    add(topups, "create", topups_create)
    add(topups, "list", topups_list)
    app.add_typer(topups, name="topups")
    ledger = typer.Typer(help="Look into the ledger.", no_args_is_help=True)
    ledger.callback()(_group)
    add(ledger, "show", ledger_show)
    app.add_typer(ledger, name="ledger")
    wallets = typer.Typer(help="Look after wallets in Redis.", no_args_is_help=True)
    wallets.callback()(_group)
    add(wallets, "rebuild", wallets_rebuild)
    app.add_typer(wallets, name="wallets")


def _group() -> None:
    pass


def credit_grant(
    *,
    organization: OrganizationArgument,
    amount: AmountArgument,
    expires: Annotated[str | None, typer.Option(help="When what is left is booked out, such as 2027-01-01.")] = None,
    priority: PriorityOption = 100,
    reason: ReasonOption = None,
    idempotency_key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Give credit that is spent before paid money and may expire; `organizations credit` adds paid money.

    \b
    tollgate credit grant acme 20 --expires 2027-01-01 --reason "welcome" --idempotency-key welcome-acme
    """
    from tollgate_cli.commands.credit import move

    body = {"amount": amount, "expires_at": expires, "priority": priority, "reason": reason}
    move(home, dict(os.environ), organization, "grants", body, idempotency_key, as_json=as_json)


def credit_refund(
    *,
    organization: OrganizationArgument,
    amount: AmountArgument,
    reason: ReasonOption = None,
    idempotency_key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Book paid money out that goes back to the organization. What requests under way hold stays.

    \b
    tollgate credit refund acme 50 --reason "contract ended" --idempotency-key refund-7
    """
    from tollgate_cli.commands.credit import move

    body = {"amount": amount, "reason": reason}
    move(home, dict(os.environ), organization, "refunds", body, idempotency_key, as_json=as_json)


def credit_correct(
    *,
    organization: OrganizationArgument,
    amount: AmountArgument,
    reason: Annotated[str, typer.Option(help="What the ledger says about it.")],
    take: Annotated[bool, typer.Option("--take", help="Take it from the organization instead of giving it.")] = False,
    idempotency_key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Put a mistake right: give an amount back, or take one with --take.

    \b
    tollgate credit correct acme 1.25 --reason "request req_01... was charged by mistake"
    tollgate credit correct acme 10 --take --reason "credit was given twice"
    """
    from tollgate_cli.commands.credit import move

    body = {"amount": f"-{amount}" if take else amount, "reason": reason}
    move(home, dict(os.environ), organization, "corrections", body, idempotency_key, as_json=as_json)


def credit_transfer(
    *,
    organization: OrganizationArgument,
    to: Annotated[str, typer.Argument(help="Name or id of the organization that gets it.")],
    amount: AmountArgument,
    reason: ReasonOption = None,
    idempotency_key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Move paid money to another organization of the same currency.

    \b
    tollgate credit transfer acme acme-labs 25 --idempotency-key labs-2026-11
    """
    from tollgate_cli.commands.credit import transfer

    body = {"amount": amount, "reason": reason}
    transfer(home, dict(os.environ), organization, to, body, idempotency_key, as_json=as_json)


def credit_line(
    *,
    organization: OrganizationArgument,
    amount: Annotated[str, typer.Argument(help="How far below zero its money may go; 0 takes the line away.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Set an organization's credit line.

    \b
    tollgate credit line acme 500
    """
    from tollgate_cli.commands.credit import set_line

    set_line(home, dict(os.environ), organization, amount, as_json=as_json)


def codes_create(
    *,
    amount: Annotated[str, typer.Argument(help="What each code is worth, such as 10.")],
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 1,
    currency: Annotated[str, typer.Option(help="USD or CNY.")] = "USD",
    label: Annotated[str, typer.Option(help="What they are for.")] = "",
    expires: Annotated[str | None, typer.Option(help="Until when they may be redeemed, such as 2027-01-01.")] = None,
    valid_days: Annotated[int, typer.Option(min=0, help="How long the credit lasts from then on; 0 for ever.")] = 0,
    priority: PriorityOption = 100,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Make redemption codes. They are shown once.

    \b
    tollgate codes create 10 --count 50 --label "conference" --expires 2027-01-01 --valid-days 90 > codes.txt
    """
    from tollgate_cli.commands.codes import create

    body = {
        "amount": amount,
        "count": count,
        "currency": currency,
        "label": label,
        "expires_at": expires,
        "valid_days": valid_days,
        "priority": priority,
    }
    create(home, dict(os.environ), body, as_json=as_json)


def codes_redeem(
    *,
    code: Annotated[str, typer.Argument(help="The code; case and hyphens make no difference.")],
    organization: OrganizationOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Credit a code's worth to an organization. A code works once.

    \b
    tollgate codes redeem TG-7K2QX-... --organization acme
    """
    from tollgate_cli.commands.codes import redeem

    redeem(home, dict(os.environ), code, organization, as_json=as_json)


def codes_list(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""List redemption codes and what became of them; never the codes themselves.

    \b
    tollgate codes list
    """
    from tollgate_cli.commands.codes import show

    show(home, dict(os.environ), as_json=as_json)


def codes_revoke(
    *,
    code_id: Annotated[str, typer.Argument(metavar="ID", help="The code's id, as `codes list` shows it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Withdraw a code that nobody has redeemed.

    \b
    tollgate codes revoke code_01...
    """
    from tollgate_cli.commands.codes import revoke

    revoke(home, dict(os.environ), code_id, as_json=as_json)


def topups_create(
    *,
    amount: AmountArgument,
    organization: OrganizationOption = None,
    idempotency_key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Begin a top-up and show where to pay. The money is there once the provider says that it was paid.

    \b
    tollgate topups create 50 --organization acme --idempotency-key order-9
    """
    from tollgate_cli.commands.topups import create

    create(home, dict(os.environ), amount, organization, idempotency_key, as_json=as_json)


def topups_list(
    *, organization: OrganizationOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    r"""List top-ups and what became of them.

    \b
    tollgate topups list --organization acme
    """
    from tollgate_cli.commands.topups import show

    show(home, dict(os.environ), organization, as_json=as_json)


def ledger_show(
    *,
    organization: OrganizationOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many transfers.")] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Show an organization's accounts, what is left of its grants, and its latest transfers.

    \b
    tollgate ledger show --organization acme --limit 50
    """
    from tollgate_cli.commands.ledger import show

    show(home, dict(os.environ), organization, limit, as_json=as_json)


def wallets_rebuild(
    *,
    organization: Annotated[str | None, typer.Option(help="Name or id of one; else all of them.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Make wallets in Redis again from the ledger, while requests go on.

    \b
    tollgate wallets rebuild
    """
    from tollgate_cli.commands.ledger import rebuild

    rebuild(home, dict(os.environ), organization, as_json=as_json)
