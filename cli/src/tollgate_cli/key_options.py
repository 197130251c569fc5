"""What `tollgate keys create` takes besides names and limits, and the command that imports keys."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tollgate_cli.options import HomeOption, JsonOption, OrganizationOption

ModelsOption = Annotated[list[str] | None, typer.Option(help="A model that it may ask for; all if left out.")]
EndpointsOption = Annotated[
    list[str] | None, typer.Option(help="What it may be used for: chat, embeddings, images, media; all if left out.")
]
CidrsOption = Annotated[
    list[str] | None, typer.Option(help="A network that it may be used from, such as 203.0.113.0/24; all if left out.")
]
TagsOption = Annotated[
    list[str] | None, typer.Option(help="A word that its usage is counted by, as in `budgets create --tag`.")
]
MemberOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Whose key it is: a mail address, login or id; `budgets create --member` counts by it."
    ),
]
ExpiresOption = Annotated[
    str | None, typer.Option(help="How long it is good, as in 12h, 30d or 8w, or a date; for ever if left out.")
]


def keys_import(
    *,
    file: Annotated[Path, typer.Argument(help="CSV with a line of column names, or a JSON object on each line.")],
    organization: OrganizationOption = None,
    project: Annotated[str | None, typer.Option(help="Name or id of the project; else the first.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Say what is wrong with it, and import nothing.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Take over keys of another gateway: who has one goes on using it. All of a file, or none.

    Each has its `key`, of which only the SHA-256 leaves this machine, or that `sha256` itself.

    \b
    tollgate keys import keys.csv --check
    tollgate keys import keys.csv --organization acme --project web
    """
    from tollgate_cli.commands.key_import import run

    run(home, dict(os.environ), file, organization, project, check=check, as_json=as_json)
