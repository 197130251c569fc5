"""Writes docs/reference/tollgate.schema.json, which editors check `tollgate.yaml` with. Run by `make schema`."""

import json
import sys
from pathlib import Path

from tollgate_resources import json_schema

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "tollgate.schema.json"


def render() -> str:
    """Returns the schema as it is kept."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Writes the schema; returns the exit code."""
    PAGE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
