"""Moderations and rerank: from a request to the reply's value. No I/O."""

import json
from collections.abc import Mapping
from typing import Any

from tollgate_simulator_provider.refusals import Refused
from tollgate_simulator_provider.tokens import text_tokens

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
DOCUMENTS_PER_SEARCH = 100


def moderate(request: Mapping[str, Any], reply_id: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Returns the reply and the units counted: a text is flagged for each category that it names. Raises Refused."""
    value = request.get("input")
    inputs = value if isinstance(value, list) and all(isinstance(one, str) for one in value) else [value]
    if not inputs or value in ("", None):
        raise Refused(400, "Missing 'input'.", param="input", code="missing_required_parameter")
    results = []
    for one in inputs:
        text = one if isinstance(one, str) else repr(one)
        found = {name: name in text for name in CATEGORIES}
        scores = {name: 0.9 if said else 0.01 for name, said in found.items()}
        applied = {name: ["text"] for name in CATEGORIES}
        results.append(
            {
                "flagged": any(found.values()),
                "categories": found,
                "category_scores": scores,
                "category_applied_input_types": applied,
            }
        )
    return {"id": reply_id.replace("chatcmpl", "modr"), "model": request["model"], "results": results}, {"request": 1}


RERANKS: Mapping[str, set[str]] = {
    "rerank-cohere": {"model", "query", "documents", "top_n", "max_tokens_per_doc", "priority"},
    "rerank-jina": {"model", "query", "documents", "top_n", "return_documents"},
}


def rank_strictly(request: Mapping[str, Any], reply_id: str, operation: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Returns the reply and the units counted of one vendor's own endpoint. Raises Refused for another shape."""
    for name in request:
        if name not in RERANKS[operation]:
            raise Refused(422, f"unknown field: {name}", param=name)
    cohere = operation == "rerank-cohere"
    for one in request.get("documents") or ():
        if isinstance(one, str) or (not cohere and set(one) == {"text"}):
            continue
        raise Refused(422, "documents: invalid type", param="documents")
    found, units = rank({**request, "model": "rerank" if cohere else "jina-reranker"}, reply_id)
    if not cohere:
        found["model"] = request["model"]
    return found, units


def rerank_error(operation: str, message: str) -> bytes:
    """Returns the body of an error of one vendor's own endpoint."""
    said = {"id": "simulated", "message": message} if operation == "rerank-cohere" else {"detail": message}
    return json.dumps(said).encode()


def rank(request: Mapping[str, Any], reply_id: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Returns the reply and the units counted, as Cohere for models called `rerank…`, else as Jina. Raises Refused."""
    model, query, documents = request["model"], request.get("query"), request.get("documents")
    if not isinstance(query, str) or not query:
        raise Refused(400, "query is required", param="query")
    if not isinstance(documents, list) or not documents:
        raise Refused(400, "documents is required", param="documents")
    texts = [one.get("text", "") if isinstance(one, dict) else one for one in documents]
    if not all(isinstance(text, str) for text in texts):
        raise Refused(400, "documents are texts, or objects with a text", param="documents")
    asked = set(query.lower().split())
    scores = [(round(len(asked & set(text.lower().split())) / len(asked), 6), -at) for at, text in enumerate(texts)]
    best = sorted(scores, reverse=True)[: request.get("top_n") or len(texts)]
    results: list[dict[str, Any]] = [{"index": -at, "relevance_score": score} for score, at in best]
    if model.startswith("rerank"):
        searches = -(-len(texts) // DOCUMENTS_PER_SEARCH)
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": searches}}
        return {"id": reply_id.replace("chatcmpl-", ""), "results": results, "meta": meta}, {"search": searches}
    tokens = sum(text_tokens(query) + text_tokens(text) for text in texts)
    if request.get("return_documents", True):
        for result in results:
            result["document"] = {"text": texts[result["index"]]}
    usage = {"total_tokens": tokens}
    return {"model": model, "object": "list", "usage": usage, "results": results}, {"input": tokens}
