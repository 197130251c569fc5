"""Embeddings as clouds have them: InvokeModel of Titan and Cohere at Bedrock, `predict` and `embedContent` at Vertex.

From a request to the reply's value, what its head counts and the units. As strict as the vendors about members, lengths
and how many texts a call may have. No I/O.
"""

from collections.abc import Mapping
from typing import Any

from tollgate_simulator_provider import vectors
from tollgate_simulator_provider.refusals import Refused
from tollgate_simulator_provider.tokens import text_tokens

TITAN = {
    "amazon.titan-embed-text-v1": ({"inputText"}, (1536,)),
    "amazon.titan-embed-text-v2": ({"inputText", "dimensions", "normalize", "embeddingTypes"}, (1024, 512, 256)),
    "amazon.titan-embed-image-v1": ({"inputText", "inputImage", "embeddingConfig"}, (1024, 384, 256)),
}
COHERE_MEMBERS = {"texts", "images", "input_type", "truncate", "embedding_types"}
COHERE_TYPES = {"search_document", "search_query", "classification", "clustering", "image"}
COHERE_TEXTS = 96
TASKS = {
    *("RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING"),
    *("QUESTION_ANSWERING", "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY"),
}
PREDICTED_TEXTS, PREDICTED_TOKENS = 250, 20_000

Answer = tuple[dict[str, Any], dict[str, int]]


def spoken(request: Mapping[str, Any]) -> str:
    """Returns the last text of a request, which may ask for a fault."""
    texts, instances = request.get("texts"), request.get("instances")
    if isinstance(texts, list) and texts:
        return str(texts[-1])
    if isinstance(instances, list) and instances and isinstance(instances[-1], dict):
        return str(instances[-1].get("content", ""))
    return str(request.get("inputText", ""))


def invoke(request: Mapping[str, Any], model: str) -> Answer:
    """Returns the reply of a model at Bedrock, and the units; the head counts `input`. Raises Refused."""
    for name, (members, lengths) in TITAN.items():
        if name in model:
            return _titan(request, model, members, lengths)
    if "cohere.embed" in model:
        return _cohere(request, model)
    raise Refused(400, "The provided model identifier is invalid.")


def _titan(request: Mapping[str, Any], model: str, members: set[str], lengths: tuple[int, ...]) -> Answer:
    _only(request, members)
    text = request.get("inputText")
    if not isinstance(text, str) or not 1 <= len(text) <= 50_000:
        raise Refused(400, "Malformed input request: expected minLength: 1, actual: 0, please reformat your input.")
    config = request.get("embeddingConfig") or {"outputEmbeddingLength": request.get("dimensions", lengths[0])}
    length = config.get("outputEmbeddingLength")
    if length not in lengths:
        raise Refused(400, f"Malformed input request: #/dimensions: {length} is not a valid enum value.")
    vector, count = _vector(model, text, length), text_tokens(text)
    reply: dict[str, Any] = {"embedding": vector, "inputTextTokenCount": count}
    if "embeddingTypes" in members:
        reply["embeddingsByType"] = {"float": vector}
    return reply, {"input": count}


def _cohere(request: Mapping[str, Any], model: str) -> Answer:
    sized = "-v3" not in model
    _only(request, COHERE_MEMBERS | ({"inputs", "output_dimension", "max_tokens"} if sized else set()))
    texts, kinds = request.get("texts"), request.get("embedding_types")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise Refused(400, "Malformed input request: #/texts: expected a list of strings, please reformat your input.")
    if len(texts) > COHERE_TEXTS:
        raise Refused(400, f"Malformed input request: #/texts: expected maximum item count: {COHERE_TEXTS}.")
    if request.get("input_type") not in COHERE_TYPES:
        raise Refused(400, "Malformed input request: required key [input_type] not found, please reformat your input.")
    length = request.get("output_dimension", 1536 if sized else 1024)
    if length not in ((256, 512, 1024, 1536) if sized else (1024,)):
        raise Refused(400, f"Malformed input request: #/output_dimension: {length} is not a valid enum value.")
    found: Any = [_vector(f"{model} {request['input_type']}", text, length) for text in texts]
    count = sum(map(text_tokens, texts))
    kind = "embeddings_by_type" if kinds else "embeddings_floats"
    reply = {"id": "simulated", "response_type": kind, "texts": texts}
    return {**reply, "embeddings": {"float": found} if kinds else found}, {"input": count}


def predict(request: Mapping[str, Any], model: str) -> Answer:
    """Returns the reply of `predict` at Vertex, and the units. Raises Refused."""
    _only(request, {"instances", "parameters"})
    instances, parameters = request.get("instances"), request.get("parameters") or {}
    gemini = model.startswith("gemini-embedding-")
    if gemini and model != "gemini-embedding-001":
        raise Refused(400, f"Model {model} is not supported by the Predict API.")
    if not isinstance(instances, list) or not instances:
        raise Refused(400, "The request has no instances.")
    if len(instances) > (1 if gemini else PREDICTED_TEXTS):
        raise Refused(400, f"{len(instances)} instance(s) is over the limit of the model.")
    _only(parameters, {"outputDimensionality", "autoTruncate"})
    most = vectors.LARGE if gemini else 768
    length = _length(parameters, most)
    found, total, characters = [], 0, 0
    for one in instances:
        _only(one, {"content", "task_type", "title"})
        count = _check_text(one, "content", one.get("task_type"))
        values = _vector(f"{model} {one.get('task_type', '')}".strip(), one["content"], length)
        found.append({"embeddings": {"values": values, "statistics": {"token_count": count, "truncated": False}}})
        total += count
        characters += sum(not letter.isspace() for letter in one["content"])
    if total > PREDICTED_TOKENS:
        raise Refused(400, f"The input token count is {total} but the model supports up to {PREDICTED_TOKENS}.")
    return {"predictions": found, "metadata": {"billableCharacterCount": characters}}, {"input": total}


def embed_content(request: Mapping[str, Any], model: str) -> Answer:
    """Returns the reply of `embedContent` at Vertex, which only newer models have. Raises Refused."""
    if not model.startswith("gemini-embedding-") or model == "gemini-embedding-001":
        raise Refused(400, f"Model {model} is not supported by the EmbedContent API.")
    _only(request, {"content", "taskType", "title", "outputDimensionality", "autoTruncate"})
    parts = (request.get("content") or {}).get("parts")
    if not isinstance(parts, list) or len(parts) != 1:
        raise Refused(400, "The request has no content.")
    count = _check_text(parts[0], "text", request.get("taskType"))
    values = _vector(
        f"{model} {request.get('taskType', '')}".strip(), parts[0]["text"], _length(request, vectors.LARGE)
    )
    reply = {"embedding": {"values": values}, "truncated": False, "usageMetadata": {"promptTokenCount": count}}
    return reply, {"input": count}


def _check_text(holder: Mapping[str, Any], name: str, task: object) -> int:
    """Returns the tokens of a text. Raises Refused."""
    text = holder.get(name)
    if not isinstance(text, str) or not text:
        raise Refused(400, "The text content is empty.")
    if task is not None and task not in TASKS:
        raise Refused(400, f"Invalid task_type: {task}.")
    return text_tokens(text)


def _length(holder: Mapping[str, Any], most: int) -> int:
    length = holder.get("outputDimensionality", most)
    if type(length) is not int or not 1 <= length <= most:
        raise Refused(400, f"Unsupported output dimensionality: {length}.")
    return length


def _only(holder: Mapping[str, Any], members: set[str]) -> None:
    for name in holder:
        if name not in members:
            raise Refused(400, f"Malformed input request: #: extraneous key [{name}] is not permitted.")


def _vector(model: str, text: str, length: int) -> list[float]:
    found = vectors.encoded(vectors.embed(model, text, length), "float")
    assert isinstance(found, list)
    return found
