"""`tollgate dlq`: usage events that could not be booked."""

import os
from typing import Annotated

import typer

from tollgate_cli.options import HomeOption, JsonOption, help_of

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `tollgate dlq list` shows it.")]


def letters_app() -> typer.Typer:
    """Returns the group of commands."""
    app = typer.Typer(
        help="List, show and replay usage events that could not be booked (dead letters).", no_args_is_help=True
    )
    app.command("list", help=help_of(dlq_list))(dlq_list)
    app.command("show", help=help_of(dlq_show))(dlq_show)
    app.command("replay", help=help_of(dlq_replay))(dlq_replay)
    return app


def dlq_list(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most letters.")] = 20,
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this letter.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""List usage events that could not be booked, newest first: why, and whether they can be by now.

    \b
    tollgate dlq list
    tollgate dlq list --limit 100 --json | jq -r '.items[] | select(.state == "ready").id'
    """
    from tollgate_cli.commands.letters import show_letters

    show_letters(home, dict(os.environ), limit, cursor, as_json=as_json)


def dlq_show(*, letter_id: IdArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    r"""Show one of them: where it came from, what of it can be read, and its original bytes.

    \b
    tollgate dlq show 1764000000000000-0-17
    tollgate dlq show 1764000000000000-0-17 --json | jq -r .value_base64 | base64 -d > event.binpb
    """
    from tollgate_cli.commands.letters import show_letter

    show_letter(home, dict(os.environ), letter_id, as_json=as_json)


def dlq_replay(
    *,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Which letters.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that can be booked by now.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Send letters to the topic that they came from, with their original bytes; each is booked once.

    It may be repeated: what is booked already is not sent, and what is sent twice is counted once. What still cannot
    be booked stays where it is; the command says why and exits with 1.

    \b
    tollgate dlq replay 1764000000000000-0-17
    tollgate dlq replay --all
    """
    from tollgate_cli.commands.letters import replay

    replay(home, dict(os.environ), ids or [], everything=everything, as_json=as_json)
