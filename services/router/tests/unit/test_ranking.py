"""Rerank between the shapes of Cohere and of Jina: what is sent, what comes back, what is named, what is charged."""

import json
from dataclasses import replace

import pytest

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_resources import Quirks
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.quirks.wire import WireQuirks
from tollgate_router.domain.target import Origin, Target
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
BODY = {"model": "public", "query": "q", "documents": ["a", "b"]}
PLAIN = Target("a", 0, "p", Origin("https", "h", 443), "/v1", "theirs", True, 1, b"")
COHERE, JINA = replace(PLAIN, rerank="cohere"), replace(PLAIN, rerank="jina")
SCORES = [{"index": 1, "relevance_score": 0.91}, {"index": 0, "relevance_score": 1e-05}]
FROM_COHERE = {
    "id": "c-1", "results": SCORES, "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
}  # fmt: skip
FROM_JINA = {
    "model": "theirs", "object": "list", "usage": {"total_tokens": 9},
    "results": [one | {"document": {"text": "ab"[one["index"]]}} for one in SCORES],
}  # fmt: skip


def ask(target, version=1, **more):
    raw = json.dumps({**BODY, **more}).encode()
    opened = wire.Open(
        operation=wire.OPERATION_RERANK, dialect=wire.DIALECT_OPENAI_CHAT, model="public", request_id="req_1",
        body_length=len(raw), api_version=version if version == 2 else 0,
    )  # fmt: skip
    return sending(opened, read_body(raw), target, raw)


def sent(target, version=1, **more):
    asked = ask(target, version, **more)
    return json.loads(asked.body), asked.dropped


def told(target, reply, version=1, **more):
    usage, body = ask(target, version, **more).read(json.dumps(reply).encode())
    return json.loads(body), usage


# What is sent.


def test_coheres_second_version_passes_to_cohere_but_for_the_models_name():
    more = {"top_n": 1, "max_tokens_per_doc": 9, "priority": 1, "anything": {"a": 1}}
    assert sent(COHERE, 2, **more) == ({**BODY, "model": "theirs", **more}, ())
    body = json.dumps(FROM_COHERE, indent=1).encode()
    assert ask(COHERE, 2).read(body)[1] == body


def test_a_caller_of_jinas_shape_at_cohere():
    more = {"documents": ["a", {"text": "b"}], "query": {"text": "q"}, "top_n": 1, "return_documents": True}
    assert sent(COHERE, **more, truncation=True) == (
        {"model": "theirs", "query": "q", "documents": ["a", "b"], "top_n": 1}, ("truncation",),
    )  # fmt: skip


def test_a_caller_of_coheres_shape_at_jina():
    more = {"max_tokens_per_doc": 512, "priority": 3, "top_n": 1}
    assert sent(JINA, 2, **more) == (
        {"query": "q", "documents": ["a", "b"], "top_n": 1, "return_documents": False, "model": "theirs"},
        ("max_tokens_per_doc", "priority"),
    )
    documents = [{"text": "a", "title": "t"}, "b"]
    found, dropped = sent(JINA, documents=documents, rank_fields=["text"], max_chunks_per_doc=2)
    assert (found["documents"], found["return_documents"]) == ([{"text": "a"}, "b"], False)
    assert "rank_fields" not in found
    assert dropped == ("max_chunks_per_doc",)


def test_what_jina_has_of_its_own_passes_to_jina():
    more = {"documents": [{"image": "https://h/a.png"}, {"text": "b"}], "query": {"image": "x"}, "truncation": True}
    assert sent(JINA, **more) == ({**BODY, "model": "theirs", **more}, ())
    assert sent(JINA, return_documents=False)[0]["return_documents"] is False


def test_a_provider_of_no_known_shape_gets_what_came():
    more = {"rank_fields": ["title"], "documents": [{"title": "t"}], "return_documents": True}
    assert sent(PLAIN, **more) == ({**BODY, "model": "theirs", **more}, ())


@pytest.mark.parametrize(
    ("target", "version", "more", "param"),
    [
        (COHERE, 1, {"documents": ["a", {"image": "x"}]}, "documents"),
        (COHERE, 1, {"documents": [7]}, "documents"),
        (COHERE, 1, {"query": {"image": "x"}}, "query"),
        (COHERE, 1, {"query": ["q"]}, "query"),
        (COHERE, 1, {"rank_fields": ["title", "text"]}, "rank_fields"),
        (COHERE, 1, {"rank_fields": "text"}, "rank_fields"),
        (COHERE, 1, {"return_embeddings": True}, "return_embeddings"),
        (COHERE, 1, {"return_documents": "yes"}, "return_documents"),
        (JINA, 1, {"rank_fields": ["title"]}, "rank_fields"),
        (JINA, 2, {"rank_fields": ["title"]}, "rank_fields"),
        (JINA, 1, {"documents": [None]}, "documents"),
        (JINA, 1, {"return_documents": 1}, "return_documents"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(target, version, more, param):
    with pytest.raises(Refused) as refused:
        ask(target, version, **more)
    assert refused.value.param == param


# What comes back.


def test_a_caller_of_coheres_second_version_sees_coheres_shape_from_jina():
    found, usage = told(JINA, FROM_JINA, 2)
    assert found == {
        "id": "req_1", "results": SCORES,
        "meta": {
            "api_version": {"version": "2"}, "billed_units": {"input_tokens": 9}, "tokens": {"input_tokens": 9},
        },
    }  # fmt: skip
    assert (dict(usage.units), usage.estimated) == ({"input": 9}, False)


def test_a_caller_of_jinas_shape_sees_it_from_cohere_with_the_documents():
    found, usage = told(COHERE, FROM_COHERE, documents=["a", {"text": "b", "title": "t"}])
    assert found == {
        **FROM_COHERE, "model": "public", "object": "list", "usage": {"total_tokens": 0},
        "results": [SCORES[0] | {"document": {"text": "b", "title": "t"}}, SCORES[1] | {"document": {"text": "a"}}],
    }  # fmt: skip
    assert (dict(usage.units), usage.estimated) == ({"search": 1}, False)


@pytest.mark.parametrize("more", [{}, {"max_chunks_per_doc": 1}, {"max_tokens_per_doc": 9}, {"priority": 1}])
def test_documents_come_back_to_those_who_want_them(more):
    for wanted in (True, False, None):
        (first, _) = told(COHERE, FROM_COHERE, **more, return_documents=wanted)[0]["results"]
        # Jina's callers have them unless they say no, those of Cohere's first version if they ask.
        assert ("document" in first) is (not more if wanted is None else wanted)


def test_where_the_two_cannot_be_told_apart_a_reply_holds_what_either_reads():
    found, usage = told(JINA, FROM_JINA)
    assert found["results"] == FROM_JINA["results"]
    assert (found["model"], found["usage"], found["id"]) == ("public", {"total_tokens": 9}, "req_1")
    assert found["meta"]["billed_units"] == {"input_tokens": 9}
    assert dict(usage.units) == {"input": 9}


def test_usage_is_read_from_what_the_provider_said():
    # Neither a reply with documents nor a count that was made up is charged.
    for version in (1, 2):
        _, usage = told(JINA, {"results": SCORES}, version)
        assert usage.estimated
        found, usage = told(COHERE, {"results": SCORES}, 1)
        assert usage.estimated
        assert found["usage"] == {"total_tokens": 0}
        assert found["meta"] == {"api_version": {"version": "1"}}


@pytest.mark.parametrize(
    "results", [[{"relevance_score": 1}], [{"index": 0}], [{"index": "0", "relevance_score": 1}], [7], "x"]
)
@pytest.mark.parametrize("target", [COHERE, JINA])
def test_results_that_are_none_are_a_problem(target, results):
    body = json.dumps({"results": results}).encode()
    assert isinstance(ask(target).read(body), UpstreamProblem)


@pytest.mark.parametrize("place", [2, -1, 10**30])
def test_a_document_that_was_not_sent_is_a_problem(place):
    body = json.dumps({"results": [{"index": place, "relevance_score": 1}]}).encode()
    assert isinstance(ask(COHERE).read(body), UpstreamProblem)


def test_an_error_with_status_200_is_one():
    assert isinstance(ask(JINA, 2).read(b'{"detail":"no","message":"no"}'), UpstreamProblem)


def test_the_path_of_a_provider_is_its_datas():
    quirks = WireQuirks(Quirks.model_validate({"paths": {"rerank": "/v2/rerank"}, "query": {"a": "b"}}))
    assert ask(replace(JINA, quirks=quirks)).path == b"/v2/rerank?a=b"
    assert ask(replace(PLAIN, quirks=quirks)).path == b"/v2/rerank?a=b"
