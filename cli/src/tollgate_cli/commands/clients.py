"""`tollgate client`: what to paste, open or scan so that a client uses this gateway."""

import locale
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import segno

from tollgate_cli.clients import KEY_PLACEHOLDER, SetUp, Values, find_client, load_clients, origin_of, set_up
from tollgate_cli.errors import USAGE, Failure
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

# They would end the text of a configuration file that they are written into.
_QUOTES = "\"'\\"
_BASES = {"origin": "HOST", "v1": "HOST/v1"}


def list_clients(*, as_json: bool) -> None:
    """Prints which clients there are."""
    clients = load_clients().values()
    if as_json:
        rows = [{name: client[name] for name in ("id", "name", "kind", "base", "calls")} for client in clients]
        print_json({"items": rows, "next": None})
        return
    rows_ = [
        (client["id"], client["name"], _BASES[client["base"]], ", ".join(link["name"] for link in client["links"]))
        if "links" in client
        else (client["id"], client["name"], _BASES[client["base"]], "")
        for client in clients
    ]
    print_table(("client", "name", "base url", "links"), rows_)
    print("\n`tollgate client CLIENT` shows what to enter; `--help` says what else there is.")


def show_client(
    home: Path | None,
    environment: Mapping[str, str],
    name: str,
    *,
    url: str,
    key: str,
    model: str,
    app: str,
    lang: str,
    link: bool,
    qr: bool,
    as_json: bool,
) -> None:
    """Prints a client's set-up. Raises Failure: code 2 for an unknown client, or for a link that it does not take."""
    client = find_client(name)
    values = _values(home, environment, url, key, model)
    made = set_up(client, values, app)
    if (link or qr) and not made.links:
        raise Failure(f"{client['name']} takes no link.", code=USAGE, advice=f"See `tollgate client {client['id']}`.")
    if qr and values.key == KEY_PLACEHOLDER:
        raise Failure("A code without a key is of no use.", code=USAGE, advice="Give --key or set TOLLGATE_API_KEY.")
    if as_json:
        print_json({"id": client["id"], "name": client["name"], **asdict(made), "steps": client["steps"]})
    elif link:
        print("\n".join(made.links.values()))
    elif qr:
        _print_codes(made)
    else:
        _print_all(client, made, lang or _language())
        if values.key == KEY_PLACEHOLDER:
            print("\nNo key is known here: give --key, or set TOLLGATE_API_KEY.")


def _values(home: Path | None, environment: Mapping[str, str], url: str, key: str, model: str) -> Values:
    """Returns what was given, else what the product of this home or of the environment has, else placeholders."""
    found = Values()
    if not url or not key:
        try:
            target = find_target(home, environment)
        except Failure:
            target = None
        if target is not None:
            # The key of another gateway is not for this one.
            same = not url or origin_of(url) == target.url
            found = Values(target.url, (target.api_key if same else "") or KEY_PLACEHOLDER)
    key = key or (environment.get("TOLLGATE_API_KEY", "") if url else "") or found.key
    if any(not 0x20 < ord(character) < 0x7F or character in _QUOTES for character in key):
        raise Failure("A key has no blanks, no quotes, and no other characters than those of ASCII.", code=USAGE)
    if set(model) & {*_QUOTES, "\n"}:
        raise Failure("A model's name has no quotes.", code=USAGE)
    return Values(origin_of(url) if url else found.origin, key, model)


def _print_all(client: Mapping[str, Any], made: SetUp, lang: str) -> None:
    print(f"{client['name']}\n{made.base_url}\n")
    for number, step in enumerate(client["steps"][lang], 1):
        print(f"{number}. {step}")
    if made.fields:
        print()
        print_table(("field", "value"), [(field[lang], field["value"]) for field in made.fields])
    if made.env:
        print()
        for name, value in made.env.items():
            print(f"export {name}='{value}'")
    for file in made.files:
        print(f"\n{file['path']}:\n\n{file['content'].rstrip()}")
    for name, link in made.links.items():
        print(f"\n{name}: {link}")
    for note in client.get("notes", ()):
        print(f"\n{note[lang]}")


def _print_codes(made: SetUp) -> None:
    """Prints a code for each link that a phone opens; where there is none, for all of them."""
    for name, link in made.links.items():
        if name in made.phone or not made.phone:
            print(f"{name}: {link}\n")
            segno.make(link, error="l", micro=False).terminal(compact=True)


def _language() -> str:
    return "zh" if (locale.getlocale()[0] or "").lower().startswith(("zh", "chinese")) else "en"
