"""Writes the support matrix of docs/reference/dialects.md from tests that have passed. Run by `make support`.

A test says with the marker `proves` which feature of which dialect at which vendor it proves. Those tests are run here;
what passed is kept in docs/reference/support.json, and nothing else gets a mark in the table.
"""

import json
import os
import subprocess
import sys
import tempfile
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
FEATURES = ("chat", "stream", "tools", "vision", "structured", "thinking", "errors", "usage")
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
    """Returns the page with the table that the results make."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{_table(recorded())}\n{END}{rest.partition(END)[2]}"


def _table(found: Recorded) -> str:
    lines = [f"| caller | model of | {' | '.join(FEATURES)} |", f"|---|---|{'---|' * len(FEATURES)}"]
    for dialect, caller in DIALECTS.items():
        for vendor, maker in VENDORS.items():
            proofs = found.get(f"{dialect}/{vendor}", {})
            cells = [_cell(proofs.get(feature, [])) for feature in FEATURES]
            lines.append(f"| {caller} | {maker} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(tests: list[str]) -> str:
    if not tests:
        return ""
    path, _, name = tests[0].partition("::")
    return f'[✓ {len(tests)}](../../{path} "{name}")'


def _run(proofs: Path) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "proves", TESTS]
    environment = os.environ | {"PROOFS_FILE": str(proofs)}
    return subprocess.run(command, check=False, cwd=ROOT, env=environment).returncode


def main(arguments: list[str]) -> int:
    """Runs the tests, or takes the file of proofs that is named, and writes results and page; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        proofs = Path(arguments[0]) if arguments else Path(folder) / "proofs"
        code = 0 if arguments else _run(proofs)
        lines = [json.loads(line) for line in proofs.read_text(encoding="utf-8").splitlines()]
    found: Recorded = {}
    for dialect, vendor, feature, test in lines:
        found.setdefault(f"{dialect}/{vendor}", {}).setdefault(feature, []).append(test)
    kept = {pair: {name: sorted(tests) for name, tests in sorted(found[pair].items())} for pair in sorted(found)}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(render(), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
