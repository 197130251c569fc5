"""Writes deploy/helm/tollgate/README.md: its words from README.tmpl.md, its table from the comments of values.yaml.

`python -m tools.gen_chart_docs` writes it; a contract test fails while it is not current.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parent.parent / "deploy/helm/tollgate"
PAGE = CHART / "README.md"
_MARK = "# -- "


def described(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, comment) of every value that a `# -- ` comment stands before."""
    path: list[tuple[int, str]] = []
    comment = ""
    for line in lines:
        text = line.strip()
        if text.startswith(_MARK):
            comment = text.removeprefix(_MARK)
        elif text and not text.startswith(("#", "-")):
            indent = len(line) - len(line.lstrip())
            path = [item for item in path if item[0] < indent] + [(indent, text.partition(":")[0])]
            if comment:
                yield ".".join(name for _, name in path), comment
            comment = ""


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields the dotted path of every value that is not a filled mapping."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def value_at(values: dict[str, Any], path: str) -> object:
    """Returns the value at a dotted path. Raises KeyError when there is none."""
    found: Any = values
    for name in path.split("."):
        found = found[name]
    return found


def render(chart: Path = CHART) -> str:
    """Returns the page. Raises ValueError with the values that have no comment."""
    text = (chart / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    rows = list(described(text.splitlines()))
    known = {path for path, _ in rows}
    silent = [leaf for leaf in leaves(values) if not any(leaf == p or leaf.startswith(p + ".") for p in known)]
    if silent:
        raise ValueError(f"values without a comment: {', '.join(silent)}")
    table = ["| value | default | meaning |", "|---|---|---|"]
    table += [f"| `{path}` | `{json.dumps(value_at(values, path))}` | {comment} |" for path, comment in rows]
    return (chart / "README.tmpl.md").read_text(encoding="utf-8").replace("<!-- values -->", "\n".join(table))


def main() -> int:
    """Writes the page; returns 0."""
    PAGE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
