"""Rules for Prometheus: they parse, speak of metrics that exist, link runbooks that exist, and the chart has them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.contract.prometheus_rules import RESOURCE, problems_of, selectors_of
from tools.gen_metrics import SERVICES

from tollgate_billing.domain.alerts import RUNBOOKS, runbook

pytestmark = pytest.mark.contract

Render = Callable[[dict[str, Any]], list[dict[str, Any]]]
# What docs/reference/metrics.md is written from.
FAMILIES = [family for families in SERVICES.values() for family in families]


@pytest.fixture(scope="module")
def rules(root: Path) -> dict[str, Any]:
    text = (root / "deploy/helm/tollgate/rules/tollgate.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def alerts_of(rules: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}


def test_the_rules_are_rules_about_metrics_and_runbooks_that_exist(rules: dict[str, Any], root: Path) -> None:
    assert problems_of(rules, FAMILIES, root) == []
    assert len(alerts_of(rules)) >= 12


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expr": "increase(tollgate_billing_poisoned_total[5m]) > 0"}, "no metric is called"),
        ({"expr": "increase(tollgate_billing_poison_total) > 0"}, "cannot be parsed"),
        ({"expr": "tollgate_billing_lag_ms >"}, "cannot be parsed"),
        ({"expr": 'tollgate_billing_book_differences{sort="x"} > 0'}, "has no label sort"),
        ({"for": "soon"}, "does not match"),
        ({"labels": {"severity": "fatal"}}, "is not one of"),
        ({"colour": "red"}, "Additional properties"),
    ],
)
def test_a_rule_that_is_wrong_is_found(rules: dict[str, Any], root: Path, change: dict[str, Any], said: str) -> None:
    broken = copy.deepcopy(rules)
    broken["groups"][0]["rules"][0].update(change)
    (problem, *_) = problems_of(broken, FAMILIES, root)
    assert said in problem


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("runbook_url", "docs/runbooks/nothing.md", "no page"),
        ("runbook_url", "docs/runbooks/billing.md#nothing", "no heading"),
        ("description", "{{ $labels.colour }}", "label colour"),
    ],
)
def test_an_annotation_that_is_wrong_is_found(
    rules: dict[str, Any], root: Path, name: str, value: str, said: str
) -> None:
    broken = copy.deepcopy(rules)
    broken["groups"][0]["rules"][0]["annotations"][name] = value
    (problem,) = problems_of(broken, FAMILIES, root)
    assert said in problem


def test_the_metrics_of_an_expression_are_all_found() -> None:
    expression = 'sum by (x) (rate(a{b="1"}[5m])) / max(c offset 1h) or absent(d == 1) unless avg_over_time(e[1h:1m])'
    assert {name for name, _ in selectors_of(expression)} == {"a", "c", "d", "e"}


def test_what_operators_are_told_of_is_alerted_with_the_same_runbook(rules: dict[str, Any], root: Path) -> None:
    linked = {rule["annotations"]["runbook_url"] for rule in alerts_of(rules).values()}
    for kind in RUNBOOKS:
        page = runbook(kind, "")
        assert page in linked, kind
        assert (root / page.partition("#")[0]).is_file()


def test_the_chart_has_the_rules_when_asked_and_links_where_they_are_published(
    rules: dict[str, Any], render: Render, needed_values: dict[str, Any], full_values: dict[str, Any]
) -> None:
    def made(values: dict[str, Any]) -> list[dict[str, Any]]:
        return [item for item in render(values) if item["kind"] == "PrometheusRule"]

    assert made(needed_values) == []
    (found,) = made({**needed_values, "alerts": {"enabled": True}})
    jsonschema.validate(found, RESOURCE)
    assert found["spec"] == rules
    (linked,) = made(full_values)
    jsonschema.validate(linked, RESOURCE)
    assert linked["metadata"]["labels"]["release"] == "prometheus"
    urls = {name: rule["annotations"].pop("runbook_url") for name, rule in alerts_of(linked["spec"]).items()}
    for name, rule in alerts_of(copy.deepcopy(rules)).items():
        page = rule["annotations"].pop("runbook_url").removeprefix("docs/runbooks/")
        assert urls[name] == f"https://wiki.test/tollgate/runbooks/{page}"
        assert alerts_of(linked["spec"])[name] == rule
    broken = copy.deepcopy(found)
    broken["spec"]["groups"][0]["rules"][0]["expression"] = "1"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, RESOURCE)


def test_notices_link_where_the_alerts_do(
    render: Render, needed_values: dict[str, Any], full_values: dict[str, Any]
) -> None:
    def setting(values: dict[str, Any]) -> str | None:
        (billing,) = [
            one for one in render(values) if one["kind"] == "StatefulSet" and "billing" in str(one["metadata"])
        ]
        env = billing["spec"]["template"]["spec"]["containers"][0]["env"]
        return next((one["value"] for one in env if one["name"] == "TOLLGATE_BILLING_RUNBOOK_URL"), None)

    assert setting(needed_values) is None
    assert setting(full_values) == "https://wiki.test/tollgate/runbooks/"
