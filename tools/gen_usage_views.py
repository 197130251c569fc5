"""Writes the views and tables of docs/reference/usage-views.md from billing's files. Run by `make usage-views`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tollgate_billing.adapters.usage_views import all_views
from tollgate_billing.domain import request_log
from tollgate_billing.domain.usage_view import Column, View

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "usage-views.md"
_REQUEST_LOG = """Which requests were refused, by whom they were asked, and why?
A table, for SQL: of operators, and of an organization's analysts on a server. Requests that reached a router are not in
it but in `usage_events`. [It is best effort](../guides/evidence.md#what-is-refused), and a refusal may have two rows:
count `event_id`, each once.
"""
MARK = "<!-- What follows is written by `make usage-views` from the views' files. -->\n"


def render() -> str:
    """Returns the page: what people wrote above the mark, the views, and the request log."""
    above, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    parts = [above, mark]
    for number, view in enumerate(all_views(), 1):
        parts.append(f"\n## {number}. {view.full_name}\n\n{view.question}\n")
        if view.operators_only:
            parts.append("For operators.\n")
        parts.append(f"Reads {', '.join(f'`{name}`' for name in view.reads.split(', '))}.\n")
        parts.append(f"\n```sh\ntollgate usage view {view.name}{_example(view)}\n```\n")
        if view.parameters:
            parts.append("\n| parameter | type | when left out | meaning |\n|---|---|---|---|\n")
            for one in view.parameters:
                default = "has to be given" if one.default is None else f"`{one.default}`" if one.default else "empty"
                parts.append(f"| `{one.name}` | {one.kind} | {default} | {one.meaning} |\n")
        parts.append(_columns(view.columns))
    parts.append(
        f'\n## {request_log.TABLE}\n\n{_REQUEST_LOG}\n```sh\ntollgate usage sql "{request_log.EXAMPLE}"\n```\n'
    )
    parts.append(_columns(request_log.COLUMNS))
    return "".join(parts)


def _columns(columns: Sequence[Column]) -> str:
    parts = ["\n| column | unit | meaning |\n|---|---|---|\n"]
    for column in columns:
        only = " (operators)" if column.operators_only else ""
        parts.append(f"| `{column.name}` | {column.unit} | {column.meaning}{only} |\n")
    return "".join(parts)


def _example(view: View) -> str:
    samples = {"channel": "openai-main", "request_id": "req_01…", "budget": "100", "top": "5"}
    needed = [one.name for one in view.parameters if one.default is None or one.name in samples]
    return "".join(f" {name}={samples[name]}" for name in needed)


def main() -> int:
    """Writes the page; returns the exit code."""
    PAGE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
