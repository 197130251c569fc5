"""The chart's README is what values.yaml says."""

import shutil
from pathlib import Path

import pytest
import yaml
from tools import gen_chart_docs

pytestmark = pytest.mark.contract


def test_the_page_is_current() -> None:
    wanted = gen_chart_docs.render()
    assert gen_chart_docs.PAGE.read_text(encoding="utf-8") == wanted, "run `python -m tools.gen_chart_docs`"


def test_the_page_has_a_row_for_every_value() -> None:
    page = gen_chart_docs.render()
    values = yaml.safe_load((gen_chart_docs.CHART / "values.yaml").read_text(encoding="utf-8"))
    paths = [path for path in gen_chart_docs.leaves(values) if not path.startswith(("edge.resources",))]
    assert len(paths) > 60
    assert '| `edge.pepper.key` | `"pepper"` | Key of the pepper in the Secret. |' in page


def test_a_value_without_a_comment_is_refused(tmp_path: Path) -> None:
    for name in ("values.yaml", "README.tmpl.md"):
        shutil.copy(gen_chart_docs.CHART / name, tmp_path)
    with (tmp_path / "values.yaml").open("a", encoding="utf-8") as file:
        file.write("\nnovel:\n  thing: 1\n")
    with pytest.raises(ValueError, match=r"novel\.thing"):
        gen_chart_docs.render(tmp_path)
