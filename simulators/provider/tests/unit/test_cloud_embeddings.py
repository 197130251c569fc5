"""Embeddings of simulated clouds, and rerank of simulated vendors: what they answer, and what they refuse."""

import pytest

from tollgate_simulator_provider.cloud_embeddings import embed_content, invoke, predict, spoken
from tollgate_simulator_provider.judgements import rank_strictly, rerank_error
from tollgate_simulator_provider.refusals import Refused

pytestmark = pytest.mark.unit
TITAN, FIRST, PICTURE = "amazon.titan-embed-text-v2:0", "amazon.titan-embed-text-v1", "amazon.titan-embed-image-v1"
V3, V4 = "cohere.embed-english-v3", "us.cohere.embed-v4:0"
COHERE = {"texts": ["12345678", "a"], "input_type": "search_document"}
PART = {"content": {"parts": [{"text": "a"}]}}
RANKED = {"model": "m", "query": "a b", "documents": ["a", "a b"]}


def test_titan_has_one_vector_and_counts():
    reply, units = invoke({"inputText": "12345678", "dimensions": 256}, TITAN)
    assert (len(reply["embedding"]), reply["inputTextTokenCount"], units) == (256, 2, {"input": 2})
    assert len(invoke({"inputText": "a"}, FIRST)[0]["embedding"]) == 1536
    sized = {"inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 384}}
    assert len(invoke(sized, PICTURE)[0]["embedding"]) == 384


def test_cohere_has_a_list_or_what_is_asked_for_by_type_and_counts_in_the_head_only():
    reply, units = invoke(COHERE, V3)
    assert [len(one) for one in reply["embeddings"]] == [1024, 1024]
    assert (units, "usage" in reply, reply["response_type"]) == ({"input": 3}, False, "embeddings_floats")
    reply, _ = invoke({**COHERE, "embedding_types": ["float"], "output_dimension": 512}, V4)
    assert [len(one) for one in reply["embeddings"]["float"]] == [512, 512]
    assert reply["embeddings"] != invoke({**COHERE, "embedding_types": ["float"], "input_type": "clustering"}, V4)[0]


def test_vertex_predicts_and_embeds():
    instances = [{"content": "a b"}, {"content": "c", "task_type": "CLUSTERING", "title": "t"}]
    reply, units = predict({"instances": instances, "parameters": {"outputDimensionality": 8}}, "text-embedding-005")
    assert [len(one["embeddings"]["values"]) for one in reply["predictions"]] == [8, 8]
    assert (reply["metadata"]["billableCharacterCount"], units) == (3, {"input": 2})
    reply, units = embed_content(PART, "gemini-embedding-2")
    assert (len(reply["embedding"]["values"]), reply["usageMetadata"]["promptTokenCount"], units["input"]) == (
        3072,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("answer", "request_body", "model"),
    [
        (invoke, {"inputText": ""}, TITAN),
        (invoke, {"inputText": ["a"]}, TITAN),
        (invoke, {"inputText": "a", "dimensions": 300}, TITAN),
        (invoke, {"inputText": "a", "dimensions": 256}, FIRST),
        (invoke, {"inputText": "a", "user": "u"}, TITAN),
        (invoke, {"texts": ["a"]}, V4),
        (invoke, {**COHERE, "texts": ["a"] * 97}, V4),
        (invoke, {**COHERE, "texts": [[1]]}, V4),
        (invoke, {**COHERE, "output_dimension": 512}, V3),
        (invoke, {**COHERE, "output_dimension": 513}, V4),
        (invoke, {"inputText": "a"}, "anthropic.claude-x"),
        (predict, {"instances": []}, "text-embedding-005"),
        (predict, {"instances": [{"content": "a"}] * 251}, "text-embedding-005"),
        (predict, {"instances": [{"content": "abcd" * 10_001}, {"content": "abcd" * 10_000}]}, "text-embedding-005"),
        (predict, {"instances": [{"content": "a"}] * 2}, "gemini-embedding-001"),
        (predict, {"instances": [{"content": "a"}]}, "gemini-embedding-2"),
        (predict, {"instances": [{"content": "a", "taskType": "CLUSTERING"}]}, "text-embedding-005"),
        (predict, {"instances": [{"content": "a", "task_type": "QUERY"}]}, "text-embedding-005"),
        (predict, {"instances": [{"content": "a"}], "parameters": {"outputDimensionality": 769}}, "text-embedding-005"),
        (embed_content, PART, "gemini-embedding-001"),
        (embed_content, {"content": {"parts": []}}, "gemini-embedding-2"),
        (embed_content, {**PART, "model": "m"}, "gemini-embedding-2"),
    ],
)
def test_what_they_refuse(answer, request_body, model):
    with pytest.raises(Refused) as caught:
        answer(request_body, model)
    assert caught.value.status == 400


def test_the_last_text_may_ask_for_a_fault():
    assert spoken({"inputText": "a"}) == "a"
    assert spoken({"texts": ["a", "b"]}) == "b"
    assert spoken({"instances": [{"content": "a"}, {"content": "b"}]}) == "b"
    assert spoken({}) == ""


def test_each_vendor_reranks_in_its_own_shape():
    reply, units = rank_strictly(RANKED, "i", "rerank-cohere")
    assert ([one["index"] for one in reply["results"]], units) == ([1, 0], {"search": 1})
    assert "document" not in reply["results"][0]
    reply, units = rank_strictly({**RANKED, "documents": [{"text": "a"}, "a b"]}, "i", "rerank-jina")
    assert (reply["model"], reply["results"][0]["document"]) == ("m", {"text": "a b"})
    assert units == {"input": reply["usage"]["total_tokens"]}


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("rerank-cohere", {"return_documents": True}),
        ("rerank-cohere", {"documents": [{"text": "a"}]}),
        ("rerank-jina", {"max_tokens_per_doc": 1}),
        ("rerank-jina", {"documents": [{"text": "a", "title": "b"}]}),
    ],
)
def test_each_vendor_refuses_what_is_the_others(operation, more):
    with pytest.raises(Refused) as caught:
        rank_strictly({**RANKED, **more}, "i", operation)
    assert caught.value.status == 422
    assert b"no" in rerank_error(operation, "no")
