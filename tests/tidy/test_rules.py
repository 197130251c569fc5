"""The tree keeps every rule, and every rule finds what is planted: a rule that cannot fail is not one."""

import importlib
import os
import pkgutil
from pathlib import Path

import pytest
from tests.tidy import rules
from tests.tidy.rules import forbidden_text
from tests.tidy.rules.tree import Tree

pytestmark = pytest.mark.tidy

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(found.name for found in pkgutil.iter_modules(rules.__path__) if found.name not in {"tree", "protos"})
RULES = {name: importlib.import_module(f"tests.tidy.rules.{name}") for name in NAMES}


def cases(attribute: str):
    return [
        pytest.param(name, case, id=f"{name}-{number}")
        for name, rule in RULES.items()
        for number, case in enumerate(getattr(rule, attribute))
    ]


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree.of_git(ROOT)


@pytest.mark.parametrize("name", NAMES)
def test_the_tree_keeps_the_rule(name, tree):
    found = sorted(RULES[name].check(tree))
    assert not found, "\n" + "\n".join(str(violation) for violation in found)


@pytest.mark.parametrize(("name", "case"), cases("PLANTED"))
def test_the_rule_finds_what_is_planted(name, case, tmp_path):
    files, expected = case
    found = [str(violation) for violation in RULES[name].check(Tree.of_files(tmp_path, files))]
    assert any(expected in violation for violation in found), found


@pytest.mark.parametrize(("name", "files"), cases("KEPT"))
def test_the_rule_accepts_what_is_right(name, files, tmp_path):
    assert list(RULES[name].check(Tree.of_files(tmp_path, files))) == []


def test_no_rule_goes_without_a_planted_violation():
    assert len(NAMES) >= 12
    assert [name for name, rule in RULES.items() if not rule.PLANTED or not rule.KEPT] == []


def test_the_tree_is_not_empty(tree):
    assert len(tree.sources()) > 20
    assert "Makefile" in tree.names


def test_the_registry_of_this_machine_is_named_nowhere(tree):
    files = [
        Path("/etc/pip.conf"),
        *(Path.home() / name for name in (".npmrc", ".pip/pip.conf", ".config/pip/pip.conf")),
    ]
    hosts = forbidden_text.registry_hosts(os.environ, files)
    assert [str(violation) for violation in forbidden_text.check(tree, hosts)] == []


def test_the_registry_of_a_machine_is_found_in_its_settings(tmp_path):
    (tmp_path / "pip.conf").write_text("[global]\nindex-url=" + " https://user:word@packages.example.net/simple\n")
    (tmp_path / ".npmrc").write_text("registry=https://npm.example.net/\n")
    files = [tmp_path / "pip.conf", tmp_path / ".npmrc", tmp_path / "gone"]
    hosts = forbidden_text.registry_hosts({"UV_DEFAULT_INDEX": "https://uv.example.net/x"}, files)
    assert hosts == ("npm.example.net", "packages.example.net", "uv.example.net")
    planted = Tree.of_files(tmp_path / "tree", {"a.lock": "--index https://uv.example.net/x\n"})
    assert [violation.line for violation in forbidden_text.check(planted, hosts)] == [1]
