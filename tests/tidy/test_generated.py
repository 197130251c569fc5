"""What is generated from the code is current."""

import re

import pytest
from benchmarks import page as bench_page
from services.router.tests import failover_page
from tools import (
    gen_clients,
    gen_commands,
    gen_errors,
    gen_metrics,
    gen_providers,
    gen_schema,
    gen_settings,
    gen_support,
    gen_usage_views,
)

from tollgate_edge.inference.access_log import AccessLine

pytestmark = pytest.mark.tidy


def test_the_settings_page_is_what_the_code_says():
    assert gen_settings.PAGE.read_text(encoding="utf-8") == gen_settings.render(), "run `make settings`"


def test_the_page_of_commands_is_what_they_say_themselves():
    assert gen_commands.PAGE.read_text(encoding="utf-8") == gen_commands.render(), "run `make commands`"


@pytest.mark.parametrize(("path", "text"), gen_commands.all_commands(), ids=lambda one: one if "\n" not in one else "")
def test_every_command_has_an_example_and_a_form_for_scripts(path, text):
    assert re.search(rf"^ +(?:[A-Z_]+=\S+ )*{path}\b", text.partition("Options:")[0].partition("\n")[2], re.MULTILINE)
    assert "--json" in text


def test_the_metrics_page_is_what_the_code_says():
    assert gen_metrics.PAGE.read_text(encoding="utf-8") == gen_metrics.render(), "run `make metrics`"


@pytest.mark.parametrize("lang", gen_clients.PAGES)
def test_the_pages_of_clients_are_what_their_data_says(lang):
    assert gen_clients.PAGES[lang].read_text(encoding="utf-8") == gen_clients.render(lang), "run `make clients`"


@pytest.mark.parametrize("lang", gen_errors.PAGES)
def test_the_pages_of_errors_are_what_the_table_says(lang):
    assert gen_errors.PAGES[lang].read_text(encoding="utf-8") == gen_errors.render(lang), "run `make errors`"


def test_the_page_of_the_usage_views_is_what_their_files_say():
    assert gen_usage_views.PAGE.read_text(encoding="utf-8") == gen_usage_views.render(), "run `make usage-views`"


def test_the_support_matrix_is_what_tests_have_proven():
    assert gen_support.PAGE.read_text(encoding="utf-8") == gen_support.render(), "run `make support`"


def test_what_the_support_matrix_claims_is_what_tests_prove_now():
    recorded = {test for features in gen_support.recorded().values() for tests in features.values() for test in tests}
    assert recorded == gen_support.collected(), "run `make support`"


def test_the_page_of_failover_is_what_the_tables_of_its_tests_say():
    assert failover_page.PAGE.read_text(encoding="utf-8") == failover_page.render(), "run `make failover`"


def test_the_schema_of_declared_resources_is_what_the_code_says():
    assert gen_schema.PAGE.read_text(encoding="utf-8") == gen_schema.render(), "run `make schema`"


def test_the_page_of_the_providers_is_what_their_files_say():
    assert gen_providers.PAGE.read_text(encoding="utf-8") == gen_providers.render(), "run `make schema`"


def test_the_page_of_figures_is_what_the_results_say():
    made = bench_page.render(bench_page.load_results())
    for path, text in made.items():
        assert path.is_file(), "run `make bench-page`"
        assert path.read_text(encoding="utf-8") == text, "run `make bench-page`"
    assert set(bench_page.PLOTS.glob("*.svg")) <= set(made), "run `make bench-page`"


def test_the_page_of_the_access_log_has_every_field_in_its_order():
    rows = re.findall(
        r"^\| (`.+?) \|", (gen_settings.ROOT / "docs/reference/access-log.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert re.findall(r"`(\w+)`", " ".join(rows)) == list(AccessLine.__struct_fields__)


def test_the_settings_page_names_a_variable_of_each_service():
    page = gen_settings.render()
    for prefix in ("TOLLGATE_EDGE_", "TOLLGATE_ROUTER_", "TOLLGATE_BILLING_", "TOLLGATE_MEDIA_JOBS_"):
        assert f"| `{prefix}SLOT` | `0` |" in page
