"""Every code that a caller can be sent stands in the table of errors, and nothing stands there that nobody sends."""

import ast
import json
from pathlib import Path

import pytest

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.domain import access
from tollgate_edge.error_table import BY_CODE, BY_KIND, TABLE
from tollgate_edge.errors import public_error
from tollgate_router.domain.upstream_errors import problem_of_reply

pytestmark = pytest.mark.contract

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for service in ("edge", "router", "media-jobs", "billing")
    for path in (ROOT / "services" / service / "src").rglob("*.py")
    if path.name not in {"caller_errors.py", "error_table.py", "errors.py"}
)
# Where a code may stand among the arguments of what makes an error; None: by its name only.
MAKERS = {"public_error": 3, "UpstreamProblem": 3, "Failure": 3, "MediaError": None, "Error": None}
# Handed on from somewhere else: codes of providers, of other services, and those of `access.problem`.
PASSED = {"problem[0]", "code", "error.code", "end.error.code", "code[:_MAX_CODE]"}

# What one service tells another by a code that callers do not see, with its kind.
BETWEEN = {"no_wallet": errors.ERROR_KIND_UNAVAILABLE}


def codes_and_kinds(source):
    """Returns the codes that a module names, the expressions that hand one on, and the kinds that it mentions."""
    own, passed, kinds = set(), set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("ERROR_KIND_"):
            kinds.add(getattr(errors, node.attr))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            own |= {node.value.value for target in node.targets if getattr(target, "attr", "") == "code"}
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name not in MAKERS:
            continue
        place = MAKERS[name]
        given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
        if place is not None:
            given += node.args[place : place + 1]
        for value in given:
            if isinstance(value, ast.Constant):
                own.add(value.value)
            else:
                passed.add(ast.unparse(value))
    return own, passed, kinds


@pytest.fixture(scope="module")
def found():
    read = [codes_and_kinds(path.read_text(encoding="utf-8")) for path in SOURCES]
    own, passed, kinds = (set().union(*(part[place] for part in read)) for place in range(3))
    return own | {access.ADDRESS_NOT_ALLOWED, access.ENDPOINT_NOT_ALLOWED}, passed, kinds


def test_the_collector_sees_what_it_has_to_see():
    source = """
raise public_error(errors.ERROR_KIND_FORBIDDEN, "m", "p", "by_place")
raise public_error(errors_pb2.ERROR_KIND_CONFLICT, code="by_name").with_headers(a="b")
raise words.public_error(kind, code=problem[7])
raise MediaError(kind, "not this", code="of_media")
found.code = "set_later"
"""
    own, passed, kinds = codes_and_kinds(source)
    assert own == {"by_place", "by_name", "of_media", "set_later"}
    assert passed == {"problem[7]"}
    assert kinds == {errors.ERROR_KIND_FORBIDDEN, errors.ERROR_KIND_CONFLICT}


def test_every_code_that_is_sent_has_an_entry(found):
    own, passed, _kinds = found
    own = own - BETWEEN.keys()
    assert own - BY_CODE.keys() == set(), "add an entry to services/edge/src/tollgate_edge/error_table.py"
    assert passed == PASSED, "a code that is not written out: say here where it comes from"
    # None of the kinds that cross services falls back to another's words.
    assert set(errors.ErrorKind.values()) - {errors.ERROR_KIND_UNSPECIFIED} <= BY_KIND.keys()


@pytest.mark.parametrize("code", BETWEEN)
def test_what_services_tell_one_another_is_not_sent_on(found, code):
    assert code in found[0]
    assert public_error(BETWEEN[code], "words", "", code).code == BY_KIND[BETWEEN[code]].code


def test_no_entry_is_dead(found):
    own, _passed, kinds = found
    dead = [
        entry.code
        for entry in TABLE
        if not (entry.code in own or (BY_KIND[entry.kind] is entry and entry.kind in kinds))
    ]
    assert dead == []


@pytest.mark.parametrize(("code", "entry"), [(code, entry) for entry in TABLE for code in entry.also])
def test_codes_of_providers_that_are_passed_on_are_of_this_kind(code, entry):
    problem = problem_of_reply(400, json.dumps({"error": {"message": "no", "code": code}}).encode())
    error = public_error(problem.kind, problem.message, problem.param, problem.code)
    assert (error.code, error.entry) == (code, entry)


def test_no_code_has_two_entries_and_every_one_is_said_in_both_languages():
    codes = [code for entry in TABLE for code in (entry.code, *entry.also)]
    assert len(codes) == len(set(codes))
    for entry in TABLE:
        for text in (entry.means, entry.do):
            assert text.en.endswith("."), entry.code
            assert text.zh.endswith("。"), entry.code
