"""`tollgate client` and `tollgate doctor`: clients set up, and found fault with."""

import os
from typing import Annotated

import typer

from tollgate_cli.options import HomeOption, JsonOption, help_of

UrlOption = Annotated[
    str | None, typer.Option("--url", help="The gateway's address as clients see it; else that of the running product.")
]
KeyOption = Annotated[
    str | None, typer.Option("--key", help="The client's API key; else TOLLGATE_API_KEY, else the demo's.")
]
ModelOption = Annotated[str | None, typer.Option("--model", help="The model that the client is to use.")]


def add_clients(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("client", help=help_of(client))(client)
    doctors = typer.Typer(invoke_without_command=True)
    doctors.callback(help=help_of(doctor))(doctor)
    doctors.command("client", help=help_of(doctor_client))(doctor_client)
    app.add_typer(doctors, name="doctor")


def client(
    *,
    name: Annotated[str | None, typer.Argument(metavar="CLIENT", help="Which one; left out, all are listed.")] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    model: ModelOption = None,
    app: Annotated[str | None, typer.Option("--app", help="Where your own copy of a web app is, for its link.")] = None,
    link: Annotated[bool, typer.Option("--link", help="Print the import links and nothing else.")] = False,
    qr: Annotated[bool, typer.Option("--qr", help="Draw the import link as a code to scan. It holds the key.")] = False,
    lang: Annotated[str | None, typer.Option("--lang", help="en or zh; else the terminal's.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Show what a client needs to use this gateway: values and where they go, files, import links, codes to scan.

    \b
    tollgate client
    tollgate client cherry-studio --url https://ai.example.com --key sk-tg-...
    tollgate client opencat --qr
    tollgate client codex --model gpt-5.1 --json
    """
    from tollgate_cli.commands.clients import list_clients, show_client

    if name is None:
        list_clients(as_json=as_json)
        return
    if lang not in {None, "en", "zh"}:
        raise typer.BadParameter("en or zh", param_hint="--lang")
    show_client(
        home,
        dict(os.environ),
        name,
        url=url or "",
        key=key or "",
        model=model or "",
        app=app or "",
        lang=lang or "",
        link=link,
        qr=qr,
        as_json=as_json,
    )


def doctor(
    context: typer.Context,
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
    if context.invoked_subcommand is not None:
        return
    from tollgate_cli.commands.doctor import run_doctor

    run_doctor(home, dict(os.environ), as_json=as_json, requests=not no_requests)


def doctor_client(
    *,
    url: Annotated[str, typer.Option("--url", help="The base URL, exactly as it was typed into the client.")],
    key: Annotated[str | None, typer.Option("--key", help="The client's API key; else TOLLGATE_API_KEY.")] = None,
    model: ModelOption = None,
    client: Annotated[str | None, typer.Option("--client", help="Which client; `tollgate client` lists them.")] = None,
    no_requests: Annotated[
        bool, typer.Option("--no-requests", help="Send no model requests; they cost a little and are billed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    r"""Find out why a client cannot use the gateway: base URL, path, key, model, stream, balance, CORS or a proxy.

    It needs the base URL, the key and the model as they were typed into the client, and runs anywhere.

    \b
    tollgate doctor client --url https://ai.example.com/v1 --key sk-tg-... --model gpt-5.1 --client cursor
    """
    from tollgate_cli.commands.doctor_client import run_doctor_client

    run_doctor_client(
        url,
        key or os.environ.get("TOLLGATE_API_KEY", ""),
        model or "",
        client or "",
        requests=not no_requests,
        as_json=as_json,
    )
