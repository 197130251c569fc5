"""What a file of alerting rules has to be: its shape, its expressions, and that it speaks of metrics that exist."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import jsonschema
import promql_parser

from tollgate_kit.metrics import Family

_DURATION: Final = {"type": "string", "pattern": r"^([0-9]+(ms|[smhdwy]))+$"}
_TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
# The fields of alerting rules by Prometheus' documentation, none of which the operator's resource lacks.
GROUPS: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["groups"],
    "additionalProperties": False,
    "properties": {
        "groups": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "rules"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "interval": _DURATION,
                    "rules": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["alert", "expr", "labels", "annotations"],
                            "additionalProperties": False,
                            "properties": {
                                "alert": {"type": "string", "pattern": "^[A-Z][A-Za-z]+$"},
                                "expr": {"type": "string"},
                                "for": _DURATION,
                                "keep_firing_for": _DURATION,
                                "labels": {
                                    **_TEXTS,
                                    "required": ["severity"],
                                    "properties": {"severity": {"enum": ["warning", "critical"]}},
                                },
                                "annotations": {**_TEXTS, "required": ["summary", "description", "runbook_url"]},
                            },
                        },
                    },
                },
            },
        }
    },
}
RESOURCE: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PrometheusRule"},
        "metadata": {
            "type": "object",
            "required": ["name", "labels"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9.-]{0,251}[a-z0-9]$"},
                "labels": _TEXTS,
            },
        },
        "spec": GROUPS,
    },
}
_LABEL: Final = re.compile(r"\$labels\.([a-z_]+)")
# What Prometheus adds to every sample that it reads.
_ADDED: Final = frozenset({"instance", "job"})
_PARTS: Final = ("_bucket", "_sum", "_count")


def problems_of(rules: Mapping[str, Any], families: Iterable[Family], pages: Path) -> list[str]:
    """Returns everything that is wrong with rules; `pages` is the folder that holds docs/runbooks."""
    try:
        jsonschema.validate(rules, GROUPS)
    except jsonschema.ValidationError as error:
        return [f"{error.json_path}: {error.message}"]
    by_name = {family.name: family for family in families}
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    names = [rule["alert"] for rule in alerts]
    found = [f"{name} is there twice" for name in sorted({name for name in names if names.count(name) > 1})]
    for rule in alerts:
        found += [f"{rule['alert']}: {problem}" for problem in (*_expression(rule, by_name), *_runbook(rule, pages))]
    return found


def _expression(rule: Mapping[str, Any], by_name: Mapping[str, Family]) -> list[str]:
    try:
        selectors = selectors_of(rule["expr"])
    except ValueError as error:
        return [f"the expression cannot be parsed: {error}"]
    found, labels = [], set(_ADDED)
    for name, matched in selectors:
        family = by_name.get(name) or next(
            (by_name[name.removesuffix(part)] for part in _PARTS if name.removesuffix(part) in by_name), None
        )
        if family is None:
            found.append(f"no metric is called {name}")
            continue
        labels |= set(family.labels)
        found += [f"{name} has no label {label}" for label in matched - set(family.labels) - _ADDED]
    said = _LABEL.findall(rule["annotations"]["description"])
    return found + [f"the description says a label {label} that no metric has" for label in said if label not in labels]


def selectors_of(expression: str) -> list[tuple[str, set[str]]]:
    """Returns the metrics that an expression reads, each with the labels that it is chosen by. Raises ValueError."""
    found: list[tuple[str, set[str]]] = []

    def note(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append((node.name or "", {matcher.name for matcher in node.matchers.matchers}))

    promql_parser.walk(promql_parser.parse(expression), pre_visit=note)
    return found


def _runbook(rule: Mapping[str, Any], pages: Path) -> list[str]:
    path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    page = pages / path
    if not path.startswith("docs/runbooks/") or not page.is_file():
        return [f"there is no page {path}"]
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    return [] if not anchor or anchor in anchors else [f"{path} has no heading for #{anchor}"]
