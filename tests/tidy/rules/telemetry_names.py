"""Names of metrics and spans live in telemetry.py of their service, each with its meaning."""

import ast
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation, dotted

METRICS = {
    "Counter", "Gauge", "Histogram", "Summary", "Info", "Enum",
    "CounterMetricFamily", "GaugeMetricFamily", "HistogramMetricFamily", "InfoMetricFamily",
}  # fmt: skip
SPANS = {"SpanRecord", "record_publish", "start_span", "start_as_current_span"}


def check(tree: Tree) -> Iterator[Violation]:
    """Yields metrics and spans that are named where they are used, and metrics that do not say what they count."""
    for name in tree.matching("services/*/src/**"):
        if not name.endswith(".py"):
            continue
        for node in ast.walk(tree.parsed(name)):
            if not isinstance(node, ast.Call):
                continue
            called, texts = dotted(node).rpartition(".")[2], _texts(node)
            if called in METRICS and texts:
                if not name.endswith("/telemetry.py"):
                    yield Violation(name, node.lineno, f"the metric {texts[0]} belongs into telemetry.py")
                elif len(texts) < 2 or not texts[1].strip():
                    yield Violation(name, node.lineno, f"the metric {texts[0]} does not say what it means")
            elif called in SPANS and texts and not name.endswith("/telemetry.py"):
                yield Violation(name, node.lineno, f"the span {texts[0]!r} belongs into telemetry.py")


def _texts(node: ast.Call) -> list[str]:
    """Returns the first two arguments where the first is a text: a name and a meaning."""
    given = [*node.args[:2], *(word.value for word in node.keywords if word.arg in {"name", "documentation"})]
    if not given or not _is_text(given[0]):
        return []
    return [ast.unparse(one) if _is_text(one) else "…" for one in given[:2]]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


PLANTED = [
    ({"services/a/src/a/app.py": 'C = Counter("a_requests", "Requests.")\n'}, "belongs into telemetry.py"),
    ({"services/a/src/a/api/x.py": 'def f():\n    yield GaugeMetricFamily(f"a_{n}", "Now.", value=1)\n'}, "the metric"),
    ({"services/a/src/a/telemetry.py": '"""T."""\nC = prometheus_client.Counter("a_requests")\n'}, "what it means"),
    ({"services/a/src/a/x.py": 'def f(t):\n    t.record(SpanRecord(name="chat", span=""))\n'}, "the span"),
    ({"services/a/src/a/x.py": 'def f(t):\n    t.start_span("chat")\n'}, "the span"),
]
KEPT = [
    {"services/a/src/a/telemetry.py": 'C = Counter("a_requests", "Requests.")\nSPAN = "chat"\n'},
    {"services/a/src/a/x.py": "def f(t):\n    t.record(SpanRecord(name=SPAN, span=''))\nn = Counter()\n"},
    {"services/a/tests/unit/x.py": 'C = Counter("a_requests", "Requests.")\n'},
]
