"""Writes docs/reference/providers.md, what is known of each provider, from its data. Run by `make schema`."""

import json
import sys
from pathlib import Path
from typing import Any

from tollgate_resources import Provider, Quirk, load_catalogue

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "providers.md"
PARAGRAPHS = (
    "# Providers",
    (
        "Written from the data by `make schema`; do not edit. How to add one of your own: [the "
        "guide](../guides/add-a-vendor.md)."
    ),
    (
        "Each provider is [a file](../../libs/resources/src/tollgate_resources/data/providers) of the shape "
        "that `providers` has in `tollgate.yaml`. What differs from the wire says where it was read: on a "
        "copy of the vendor's `page` or in its issue, `quoted` by documentation of others, or `known` and not "
        "read again. [The conformance suite](../../tests/contract/test_vendors.py) asks a simulated vendor "
        "with the ways of each, and no vendor itself: a key of yours is what shows that a vendor has changed."
    ),
    (
        "A parameter that a provider does not take is left out and named in `x-tollgate-dropped` where it "
        "only steers, and refused with its name where the answer would be of another form: [the "
        "rule](dialects.md#what-is-not). Values that say what is so anyway (`n: 1`, `logprobs: false`, null) "
        "are left out without a word."
    ),
    "| field | |\n|---|---|\n",
)


def render() -> str:
    """Returns the page as it is kept."""
    rows = "".join(_rows(Provider.model_json_schema()))
    catalogue = load_catalogue()
    providers = [one for one in catalogue.providers.values() if not one.simulates and one.name != "simulator"]
    return (
        "\n\n".join(PARAGRAPHS)
        + rows
        + "".join(
            _provider(one, len(catalogue.models_of(one.name))) for one in sorted(providers, key=lambda one: one.name)
        )
    )


def _rows(schema: dict[str, Any]) -> list[str]:
    """Returns a row for each described field, those of nested shapes under their place."""
    found: list[str] = []
    shapes = schema["$defs"]

    def walk(prefix: str, shape: dict[str, Any]) -> None:
        for name, field in shape.get("properties", {}).items():
            place = f"{prefix}{name}"
            inner = next((one for one in (field, field.get("items", {})) if "$ref" in one), None)
            described = " ".join(field.get("description", "").split())
            if described:
                found.append(f"| `{place}` | {described.replace('|', chr(92) + '|')} |\n")
            if inner is not None:
                many = "[]" if "items" in field else ""
                walk(f"{place}{many}.", shapes[inner["$ref"].rpartition("/")[2]])

    walk("", schema)
    return found


def _provider(provider: Provider, models: int) -> str:
    where = f"`{provider.base_url}`" if provider.base_url else "an address of yours"
    keys = ", ".join(f"`{name}`" for name in provider.environment)
    lines = [
        f"\n## {provider.name}\n",
        f"{provider.title}: {', '.join(provider.operations)} at {where}{f', with a key in {keys}' if keys else ''}.",
    ]
    if provider.environment:
        known = f"{models} names of its models" if models else "none of its models, so that a channel must list them"
        lines.append(f"The catalogue has {known}.")
    if provider.conforming:
        lines.append("Replies pass untouched.")
    if provider.responses:
        lines.append("The Responses API is passed on as well.")
    lines += [f"\n- {_quirk(quirk)}" for quirk in provider.quirks]
    return "\n".join(lines).replace("\n\n- ", "\n- ").replace(".\n- ", ".\n\n- ", 1) + "\n"


def _quirk(quirk: Quirk) -> str:
    said = quirk.model_dump(exclude_unset=True, exclude={"source", "checked", "evidence"})
    parts = []
    for name, value in said.items():
        if name == "errors":
            kinds = dict.fromkeys(rule["means"] for rule in value)
            parts.append(f"errors: {', '.join(kinds)}")
        elif isinstance(value, tuple):
            parts.append(f"`{name}` {_short(value)}")
        elif isinstance(value, dict):
            parts += [f"`{name}.{inner}` {_short(what)}" for inner, what in value.items()]
    return f"{'; '.join(parts)} ([{quirk.evidence}]({quirk.source}), {quirk.checked})"


def _short(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(f"`{one}`" for one in value)
    if isinstance(value, dict):
        return ", ".join(
            f"`{key}` → `{one if isinstance(one, str) else json.dumps(one)}`" for key, one in value.items()
        )
    return f"`{json.dumps(value)}`"


def main() -> int:
    """Writes the page; returns the exit code."""
    PAGE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
