"""Client applications as data, and what a user of each has to paste, open or scan."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote, urlsplit

import yaml

from tollgate_cli.errors import USAGE, Failure

KEY_PLACEHOLDER: Final = "sk-tg-YOUR_KEY"
MODEL_PLACEHOLDER: Final = "YOUR_MODEL"
ORIGIN_PLACEHOLDER: Final = "https://your-gateway.example"
_VERSION: Final = re.compile(r"(/v\d+(?:alpha|beta)?)+$")
_ENDPOINT: Final = re.compile(r"/(?:chat/completions|completions|responses|messages|models|embeddings)$")
_NAME: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Values:
    """What is filled in: `origin` is the gateway's address without a path, `model` may be empty."""

    origin: str = ORIGIN_PLACEHOLDER
    key: str = KEY_PLACEHOLDER
    model: str = ""

    def named(self, **more: str) -> Mapping[str, str]:
        """Returns every name that texts may hold, and its value."""
        return {
            "origin": self.origin,
            "v1": f"{self.origin}/v1",
            "v1beta": f"{self.origin}/v1beta",
            "key": self.key,
            "model": self.model,
            **more,
        }


@dataclass(frozen=True, slots=True)
class SetUp:
    """A client's set-up with everything filled in. `links` maps names to addresses, `phone` names those for phones."""

    base_url: str
    env: Mapping[str, str]
    fields: tuple[Mapping[str, str], ...]
    files: tuple[Mapping[str, str], ...]
    links: Mapping[str, str]
    phone: tuple[str, ...]


def load_clients() -> Mapping[str, Mapping[str, Any]]:
    """Returns the clients by id, in the order of the file."""
    text = (files("tollgate_cli") / "data" / "clients.yaml").read_text(encoding="utf-8")
    return {client["id"]: client for client in yaml.safe_load(text)["clients"]}


def find_client(name: str) -> Mapping[str, Any]:
    """Returns the client of this id, or whose name begins so. Raises Failure (code 2) with the ids that there are."""
    clients = load_clients()
    wanted = name.strip().lower()
    if wanted in clients:
        return clients[wanted]
    plain = re.sub(r"[^a-z0-9]", "", wanted)
    matching = [
        client
        for client in clients.values()
        if plain and re.sub(r"[^a-z0-9]", "", client["name"].lower()).startswith(plain)
    ]
    if len(matching) == 1:
        return matching[0]
    raise Failure(
        f"There is no client '{name}'.", code=USAGE, advice=f"There are: {', '.join(client for client in clients)}."
    )


def origin_of(address: str) -> str:
    """Returns the address without slash, version and endpoint at its end, however a user wrote it.

    Raises Failure (code 2) for what is no http address.
    """
    plain = address.strip().rstrip("#")
    if "://" not in plain:
        plain = f"https://{plain}"
    try:
        parts = urlsplit(plain)
        well = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well = False
    if not well or parts.query or parts.fragment or parts.username is not None or re.search(r"[\s\"'<>\\]", plain):
        raise Failure(f"'{address}' is not the address of a gateway.", code=USAGE, advice="Such as https://ai.example.")
    return _VERSION.sub("", _ENDPOINT.sub("", plain.rstrip("/"))).rstrip("/")


def set_up(client: Mapping[str, Any], values: Values, app: str = "") -> SetUp:
    """Returns the set-up of a client; `app` is where a web app of one's own is. Raises Failure (code 2)."""
    named = values.named()
    # A text without a model would not work; a link without one does.
    shown = {**named, "model": values.model or MODEL_PLACEHOLDER}
    links = client.get("links", ())
    return SetUp(
        base_url=named[client["base"]],
        env={name: _fill(text, shown) for name, text in client.get("env", {}).items()},
        fields=tuple({**field, "value": _fill(field["value"], shown)} for field in client.get("fields", ())),
        files=tuple({**file, "content": _fill(file["content"], shown)} for file in client.get("files", ())),
        links={link["name"]: import_link(link, values, app) for link in links},
        phone=tuple(link["name"] for link in links if link.get("phone")),
    )


def import_link(link: Mapping[str, Any], values: Values, app: str = "") -> str:
    """Returns the address that hands a gateway and a key to an app. Raises Failure (code 2)."""
    named = values.named(app=(app or link.get("app", "")).rstrip("/"))
    template: str = link["template"]
    if link["encode"] == "query":
        head, _, query = template.partition("?")
        pairs = [pair.partition("=") for pair in query.split("&")]
        filled = [(name, _fill(value, named)) for name, _, value in pairs]
        return f"{head}?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in filled if value)
    payload = json.dumps(_filled(link["payload"], named), ensure_ascii=False, separators=(",", ":"))
    if wrong := set(link.get("forbidden", "")) & set(payload):
        raise Failure(
            f"This link cannot carry {' '.join(sorted(wrong))} in an address or a key.",
            code=USAGE,
            advice="Enter the values by hand.",
        )
    if link["encode"] == "base64":
        # Standard base64, percent-encoded: clients read `-` and `_` each in their own way.
        payload = base64.b64encode(payload.encode()).decode()
    return _fill(template, {**named, "payload": quote(payload, safe="")})


def _filled(value: Any, named: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(inner, named) for name, inner in value.items()}
    return _fill(value, named) if isinstance(value, str) else value


def _fill(text: str, named: Mapping[str, str]) -> str:
    """Texts hold braces of their own: only names that are known are filled in."""
    return _NAME.sub(lambda found: named.get(found[1], found[0]), text)
