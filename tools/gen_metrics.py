"""Writes docs/reference/metrics.md from the metrics that the services declare. Run by `make metrics`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tollgate_billing import telemetry as billing
from tollgate_edge import telemetry as edge
from tollgate_kit.metrics import Family
from tollgate_media_jobs import telemetry as media_jobs
from tollgate_router import telemetry as router

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "metrics.md"
SERVICES: dict[str, Sequence[Family]] = {
    "edge": edge.FAMILIES,
    "router": router.FAMILIES,
    "billing": billing.FAMILIES,
    "media-jobs": media_jobs.FAMILIES,
}
HEAD = """# Metrics

Each process serves its own at `/metrics` of its admin port, in the format of Prometheus.
Beside these there are the `process_*` metrics of the Prometheus client: memory, processor time, open files.
A histogram has `_bucket`, `_sum` and `_count` behind its name, so it counts as well as it measures.
`gen_ai_*` names, labels and buckets are those of OpenTelemetry's conventions for generative AI.

No label holds a key, a request, a model or an organization.
Outcomes and kinds of errors are enumerations, channels, origins and routers are configured.
Codes of errors, which providers may think of, are `other` from the hundredth on.
So are channels in what is measured of calls, from some thousands of channels and kinds of errors on.
Counting costs a request a few additions of numbers; what has to be looked for is looked for when Prometheus asks.

This page is written by `make metrics` from the code.
"""


def render() -> str:
    """Returns the page."""
    parts = [HEAD]
    for service, families in SERVICES.items():
        parts.append(f"\n## {service}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n")
        for family in families:
            labels = ", ".join(f"`{label}`" for label in family.labels)
            parts.append(f"| `{family.name}` | {family.kind} | {labels} | {family.meaning} |\n")
    return "".join(parts)


def main() -> int:
    """Writes the page; returns the exit code."""
    PAGE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
