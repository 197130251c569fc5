"""What is generated from the code is current."""

import pytest
from tools import gen_metrics, gen_settings

pytestmark = pytest.mark.tidy


def test_the_settings_page_is_what_the_code_says():
    assert gen_settings.PAGE.read_text(encoding="utf-8") == gen_settings.render(), "run `make settings`"


def test_the_metrics_page_is_what_the_code_says():
    assert gen_metrics.PAGE.read_text(encoding="utf-8") == gen_metrics.render(), "run `make metrics`"


def test_the_settings_page_names_a_variable_of_each_service():
    page = gen_settings.render()
    for prefix in ("TOLLGATE_EDGE_", "TOLLGATE_ROUTER_", "TOLLGATE_BILLING_", "TOLLGATE_MEDIA_JOBS_"):
        assert f"| `{prefix}SLOT` | `0` |" in page
