"""Every place at which a crash test can end a process has a name that is known, and is reached in a test."""

import ast
from pathlib import Path

import pytest
from services.billing.tests.integration import test_crash
from tests.servers.process import REPOSITORY
from tests.tidy.rules.tree import dotted

from tollgate_billing.adapters import failpoints as of_billing
from tollgate_media_jobs.adapters import failpoints as of_media_jobs

pytestmark = pytest.mark.unit


def reached_in(folder: Path) -> set[str]:
    """Returns the names that code says it has reached."""
    return {
        str(part.value)
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and dotted(node).endswith(("_reached", "failpoints.reach"))
        for argument in node.args[:1]
        for part in ast.walk(argument)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def killed_in_media_jobs() -> set[str]:
    """Returns the places of the table of its crash tests."""
    text = (REPOSITORY / "services/media-jobs/tests/integration/test_process.py").read_text(encoding="utf-8")
    return {
        str(key.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and dotted(node.targets[0]) in {"KILLS", "KILLS_ON_THE_WAY"}
        if isinstance(node.value, ast.Dict)
        for key in node.value.keys
        if isinstance(key, ast.Constant)
    }


def test_every_failpoint_of_billing_is_named_and_killed_at():
    assert reached_in(REPOSITORY / "services/billing/src") == set(of_billing.NAMES)
    # Its crash test goes through the names themselves, on both profiles.
    assert test_crash.OF_BATCHES is of_billing.OF_BATCHES
    notices = (REPOSITORY / "services/billing/tests/integration/test_notices.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in notices for name in of_billing.OF_NOTICES)
    rebuilds = "".join(
        (REPOSITORY / f"services/billing/tests/integration/test_usage_{name}.py").read_text(encoding="utf-8")
        for name in ("rebuild", "copies")
    )
    assert all(f'"{name}"' in rebuilds for name in of_billing.OF_REBUILDS)


def test_every_failpoint_of_media_jobs_is_named_and_killed_at():
    assert reached_in(REPOSITORY / "services/media-jobs/src") == set(of_media_jobs.NAMES) == killed_in_media_jobs()


def test_a_new_failpoint_without_a_name_would_be_seen(tmp_path):
    (tmp_path / "x.py").write_text('self._failpoints.reach("new" if late else "other")\nself._reached("third")\n')
    assert reached_in(tmp_path) == {"new", "other", "third"}


@pytest.mark.parametrize("make", [of_billing.Failpoint, of_media_jobs.KillingFailpoint])
def test_a_name_that_is_none_is_refused(make):
    with pytest.raises(ValueError, match="failpoint is one of"):
        make("nowhere")
