"""Writes the support matrix of docs/reference/dialects.md from tests that have passed. Run by `make support`.

A test says with the marker `proves` which feature of which dialect at which vendor it proves. Those tests are run here;
what passed is kept in docs/reference/support.json, and nothing else gets a mark in the table.
`ARGS=tests/integration/X.py` runs one file, and keeps what is recorded of the others.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "dialects.md"
RESULTS = ROOT / "docs" / "reference" / "support.json"
TESTS = "tests/integration"
BEGIN, END = "<!-- support matrix: written by `make support` -->\n", "<!-- end of the support matrix -->\n"
DIALECTS = {
    "chat": "OpenAI chat",
    "responses": "OpenAI Responses",
    "messages": "Anthropic Messages",
    "contents": "Gemini",
}
VENDORS = {
    "chat": "OpenAI",
    "messages": "Anthropic",
    "contents": "Gemini",
    "deepseek": "DeepSeek",
    "azure": "Azure OpenAI",
    "bedrock": "Claude on Bedrock",
    "vertex-contents": "Gemini on Vertex",
    "vertex-messages": "Claude on Vertex",
}
FEATURES = ("chat", "stream", "tools", "vision", "structured", "thinking", "search", "errors", "usage")
EMBEDDING_DIALECTS = {"embeddings": "OpenAI embeddings", "embed-contents": "Gemini embedContent"}
EMBEDDING_VENDORS = {
    "chat": "OpenAI",
    "contents": "Gemini",
    "azure": "Azure OpenAI",
    "titan": "Titan on Bedrock",
    "bedrock-cohere": "Cohere on Bedrock",
    "vertex": "text-embedding on Vertex",
    "vertex-gemini": "gemini-embedding-001 on Vertex",
    "vertex-gemini-2": "gemini-embedding-2 on Vertex",
}
EMBEDDING_FEATURES = ("text", "list", "dimensions", "base64", "errors", "usage")
RERANK_DIALECTS = {"rerank-1": "Jina, Cohere v1", "rerank-2": "Cohere v2"}
RERANK_VENDORS = {"cohere": "Cohere", "jina": "Jina"}
RERANK_FEATURES = ("documents", "errors", "usage")
TABLES = (
    (DIALECTS, VENDORS, FEATURES),
    (EMBEDDING_DIALECTS, EMBEDDING_VENDORS, EMBEDDING_FEATURES),
    (RERANK_DIALECTS, RERANK_VENDORS, RERANK_FEATURES),
)
# By "dialect/vendor" and feature: the tests that proved it.
Recorded = dict[str, dict[str, list[str]]]


def recorded() -> Recorded:
    """Returns what tests have proven."""
    found: Recorded = json.loads(RESULTS.read_bytes())
    return found


def collected() -> set[str]:
    """Returns the ids of all tests that would prove something now."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "proves", TESTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return {line for line in done.stdout.splitlines() if "::" in line}


def render() -> str:
    """Returns the page with the tables that the results make."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    found = recorded()
    tables = "\n".join(_table(found, *table) for table in TABLES)
    return f"{before}{BEGIN}\n{tables}\n{END}{rest.partition(END)[2]}"


def _table(found: Recorded, dialects: Mapping[str, str], vendors: Mapping[str, str], features: Sequence[str]) -> str:
    lines = [f"| caller | model of | {' | '.join(features)} |", f"|---|---|{'---|' * len(features)}"]
    for dialect, caller in dialects.items():
        for vendor, maker in vendors.items():
            proofs = found.get(f"{dialect}/{vendor}", {})
            cells = [_cell(proofs.get(feature, [])) for feature in features]
            lines.append(f"| {caller} | {maker} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(tests: list[str]) -> str:
    if not tests:
        return ""
    path, _, name = tests[0].partition("::")
    return f'[✓ {len(tests)}](../../{path} "{name}")'


def _run(proofs: Path, tests: str) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "proves", tests]
    environment = os.environ | {"PROOFS_FILE": str(proofs)}
    return subprocess.run(command, check=False, cwd=ROOT, env=environment).returncode


def _others(named: str) -> list[list[str]]:
    """Returns what is recorded of tests of other files, as lines of proofs."""
    return [
        [*pair.split("/", 1), feature, test]
        for pair, features in recorded().items()
        for feature, tests in features.items()
        for test in tests
        if test.partition("::")[0] != named
    ]


def main(arguments: list[str]) -> int:
    """Runs the tests, or one file of them, and writes results and page; returns the exit code.

    A file that is none of the tests holds the proofs of a run that was made elsewhere.
    """
    named = arguments[0] if arguments else TESTS
    with tempfile.TemporaryDirectory() as folder:
        proofs = Path(folder) / "proofs" if named.startswith(TESTS) else Path(named)
        code = _run(proofs, named) if named.startswith(TESTS) else 0
        lines = [json.loads(line) for line in proofs.read_text(encoding="utf-8").splitlines()]
    if named.startswith(f"{TESTS}/"):
        lines += _others(named)
    found: Recorded = {}
    for dialect, vendor, feature, test in lines:
        found.setdefault(f"{dialect}/{vendor}", {}).setdefault(feature, []).append(test)
    kept = {pair: {name: sorted(tests) for name, tests in sorted(found[pair].items())} for pair in sorted(found)}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(render(), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
