"""Embeddings of every wire that knows them, and rerank in either shape, through the whole product.

What a caller of each dialect gets, what is refused, and what is on the bill.

The simulators judge requests as the vendors do, and count tokens by their own rule.
"""

import base64
import json
import struct

import httpx
import openai
import pytest
from tests.integration.product import Product
from tests.integration.simulators import Simulator

pytestmark = pytest.mark.integration
TEXTS = ["a toll gate", "the sea, and 12 words more than that to make it longer", "gate"]
TOKENS = [-(-len(text.encode()) // 4) for text in TEXTS]
# Place in the support matrix → public name, upstream name, and a length of vectors that it knows.
MODELS = {
    "chat": ("text-embedding-3-small", "text-embedding-3-small", 64),
    "contents": ("gemini-embedding-2-preview", "gemini-embedding-2-preview", 64),
    "azure": ("text-embedding-3-large", "my-embedding", 64),
    "titan": ("titan-embed-text-v2", "amazon.titan-embed-text-v2:0", 256),
    "bedrock-cohere": ("embed-v4.0", "global.cohere.embed-v4:0", 512),
    "vertex": ("text-embedding-005", "text-embedding-005", 64),
    "vertex-gemini": ("gemini-embedding-001", "gemini-embedding-001", 64),
    "vertex-gemini-2": ("gemini-embedding-2", "gemini-embedding-2", 64),
}
OPENAIS = {"chat", "azure"}
RERANKS = {"cohere": ("rerank-v3.5", "search", 1), "jina": ("jina-reranker-v2-base-multilingual", "input", 50_000)}
DOCUMENTS = ["a gate", "the sea", "a toll gate"]


@pytest.fixture(scope="module")
def vendors(tmp_path_factory):
    running = Simulator(tmp_path_factory.mktemp("vendors"), "vendors")
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def product(vendors, tmp_path_factory):
    folder = tmp_path_factory.mktemp("product")
    root = f"http://127.0.0.1:{vendors.port}"
    (folder / "account.json").write_text(httpx.get(f"{root}/vertex/_account", trust_env=False).text)

    def channel(name, path, places, credential="ANY_KEY", provider="", **cloud):
        models = [MODELS[place] for place in places]
        return {
            "name": name, "provider": provider or name, "base_url": root + path, "private_network": True,
            "cloud": cloud or None, "models": [{"name": one[0], "upstream": one[1]} for one in models],
            "credentials": [{"file": credential} if "/" in credential else {"env": credential}],
        }  # fmt: skip

    def rerank(name, path, place):
        one = channel(name, path, ())
        return one | {"models": [RERANKS[place][0]]}

    vertex = ("vertex", "vertex-gemini", "vertex-gemini-2")
    place = {"region": "europe-west4", "project": "simulated"}
    channels = [
        channel("openai", "/v1", ("chat",)),
        channel("gemini", "/gemini/v1beta", ("contents",)),
        channel("azure", "/azure", ("azure",), api_version="2024-10-21"),
        channel("bedrock", "/bedrock", ("titan", "bedrock-cohere"), "BEDROCK_KEY", region="us-east-1"),
        channel("vertex", "/vertex", vertex, f"{folder}/account.json", **place),
        rerank("cohere-rerank", "/cohere/v2", "cohere"),
        rerank("jina", "/jina/v1", "jina"),
    ]
    prices = {"titan-embed-text-v2": {"input": "0.02"}, "text-embedding-005": {"input": "0.1"}}
    books = [{"name": "public", "currency": "USD", "effective": "2026-01-01T00:00:00Z", "models": prices}]
    config = folder / "tollgate.yaml"
    config.write_text(json.dumps({"channels": channels, "price_books": books}))
    secrets = {"ANY_KEY": "any", "BEDROCK_KEY": httpx.get(f"{root}/bedrock/_key", trust_env=False).text}
    running = Product(folder, ["--config", str(config)], secrets)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def sdk(product):
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def http(product):
    headers = {"x-goog-api-key": product.api_key}
    with httpx.Client(base_url=product.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


def proving(dialect, *features, places=MODELS):
    """Returns a parameter for each place, with what it proves there."""
    return [
        pytest.param(place, marks=[pytest.mark.proves(dialect, place, feature) for feature in features], id=place)
        for place in places
    ]


def row_of(product, reply, place):
    row = product.wait_row(reply.headers["x-request-id"])
    assert (row["model"], row["upstream_model"], row["outcome"]) == (*MODELS[place][:2], "ok")
    assert not row["estimated"]
    assert int(row["charge_pico"]) > 0
    return row


def unpacked(text):
    raw = base64.b64decode(text)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


@pytest.mark.parametrize("place", proving("embeddings", "text", "list", "usage"))
def test_texts_of_openais_dialect_with_their_row(product, sdk, place):
    model = MODELS[place][0]
    raw = sdk.embeddings.with_raw_response.create(model=model, input=TEXTS, encoding_format="float")
    found = raw.parse()
    assert [one.index for one in found.data] == [0, 1, 2]
    assert found.usage.prompt_tokens == found.usage.total_tokens == sum(TOKENS)
    assert int(row_of(product, raw, place)["input_tokens"]) == sum(TOKENS)
    # Each vector is that of its own text, however many calls it took.
    for text, one in zip(TEXTS, found.data, strict=True):
        assert (
            sdk.embeddings.create(model=model, input=text, encoding_format="float").data[0].embedding == one.embedding
        )


@pytest.mark.parametrize("place", proving("embeddings", "dimensions", "base64"))
def test_shorter_vectors_as_base64(sdk, place):
    model, _, length = MODELS[place]
    asked = {"model": model, "input": TEXTS[:2], "dimensions": length}
    floats = sdk.embeddings.create(**asked, encoding_format="float").data
    packed = sdk.embeddings.with_raw_response.create(**asked, encoding_format="base64").http_response.json()["data"]
    for plain, one in zip(floats, packed, strict=True):
        assert len(plain.embedding) == length
        assert unpacked(one["embedding"]) == pytest.approx(plain.embedding, abs=1e-6)


@pytest.mark.parametrize("place", proving("embeddings", "errors"))
def test_errors_name_what_is_wrong(sdk, place):
    model = MODELS[place][0]
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.embeddings.create(model=model, input=TEXTS, dimensions=100_000)
    assert "secret" not in str(caught.value)
    if place in OPENAIS:
        assert sdk.embeddings.create(model=model, input=[1, 2, 3]).usage.prompt_tokens == 3
        return
    for tokens in ([1, 2, 3], [[1, 2], [3]]):
        with pytest.raises(openai.BadRequestError) as caught:
            sdk.embeddings.create(model=model, input=tokens)
        assert caught.value.param == "input"
        assert "takes no tokens" in str(caught.value)


@pytest.mark.parametrize("place", proving("embed-contents", "text", "list", "dimensions", "usage"))
def test_contents_of_geminis_dialect_with_their_row(product, http, sdk, place):
    model, _, length = MODELS[place]
    requests = [
        {"model": f"models/{model}", "content": {"parts": [{"text": text}]}, "outputDimensionality": length}
        for text in TEXTS
    ]
    reply = http.post(f"/v1beta/models/{model}:batchEmbedContents", json={"requests": requests})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    usual = sdk.embeddings.create(model=model, input=TEXTS, dimensions=length, encoding_format="float")
    assert [one["values"] for one in found["embeddings"]] == [one.embedding for one in usual.data]
    assert found["usageMetadata"]["promptTokenCount"] == sum(TOKENS)
    assert int(row_of(product, reply, place)["input_tokens"]) == sum(TOKENS)
    one = http.post(f"/v1beta/models/{model}:embedContent", json=requests[0]).json()
    assert one["embedding"] == found["embeddings"][0]


@pytest.mark.parametrize("place", proving("embed-contents", "errors"))
def test_errors_in_geminis_dialect(http, place):
    model = MODELS[place][0]
    asked = {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": -1}
    reply = http.post(f"/v1beta/models/{model}:embedContent", json=asked)
    assert (reply.status_code, reply.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_what_a_text_is_for_reaches_the_models_that_know_it(http, sdk):
    asked = {"content": {"parts": [{"text": "a"}]}, "taskType": "RETRIEVAL_QUERY"}
    for place in ("bedrock-cohere", "vertex", "vertex-gemini", "vertex-gemini-2"):
        model = MODELS[place][0]
        plain = sdk.embeddings.create(model=model, input="a", encoding_format="float").data[0].embedding
        reply = http.post(f"/v1beta/models/{model}:embedContent", json=asked)
        assert "x-tollgate-dropped" not in reply.headers
        assert reply.json()["embedding"]["values"] != plain
    reply = http.post(f"/v1beta/models/{MODELS['titan'][0]}:embedContent", json=asked)
    assert reply.headers["x-tollgate-dropped"] == "taskType"


@pytest.mark.parametrize(
    ("place", "count"), [("titan", 40), ("bedrock-cohere", 200), ("vertex", 260), ("vertex-gemini", 20)]
)
def test_many_texts_are_several_calls_and_one_row(product, vendors, sdk, place, count):
    vendors.clear()
    texts = [f"text {number}" for number in range(count)]
    raw = sdk.embeddings.with_raw_response.create(model=MODELS[place][0], input=texts, encoding_format="float")
    found = raw.parse()
    assert len(found.data) == count
    calls = {"titan": count, "bedrock-cohere": 3, "vertex": 2, "vertex-gemini": count}
    assert vendors.seen() == ["completed"] * calls[place]
    assert int(row_of(product, raw, place)["input_tokens"]) == sum(-(-len(text) // 4) for text in texts)
    last = sdk.embeddings.create(model=MODELS[place][0], input=texts[-1], encoding_format="float")
    assert found.data[-1].embedding == last.data[0].embedding


@pytest.mark.parametrize("place", ["titan", "vertex-gemini"])
def test_an_error_of_one_call_is_that_of_the_request(product, sdk, place):
    texts = [*TEXTS, "[[sim:status=429]]"]
    with pytest.raises(openai.RateLimitError) as caught:
        sdk.embeddings.create(model=MODELS[place][0], input=texts)
    row = product.wait_row(caught.value.response.headers["x-request-id"])
    assert int(row["charge_pico"]) == 0


# Rerank.


def proving_rerank(dialect, *features):
    return proving(dialect, *features, places=RERANKS)


@pytest.mark.parametrize("place", proving_rerank("rerank-2", "documents", "usage"))
def test_coheres_second_version_at_either_vendor(product, http, place):
    model, unit, price = RERANKS[place]
    reply = http.post("/v2/rerank", json={"model": model, "query": "toll gate", "documents": DOCUMENTS, "top_n": 2})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert set(found) == {"id", "results", "meta"}
    assert [set(one) for one in found["results"]] == [{"index", "relevance_score"}] * 2
    assert [one["index"] for one in found["results"]] == [2, 0]
    row = product.wait_row(reply.headers["x-request-id"])
    assert (row["operation"], row["estimated"]) == ("rerank", False)
    counted = row["units"].get("search", 0) if unit == "search" else int(row["input_tokens"])
    billed = found["meta"]["billed_units"]
    assert counted == (billed["search_units"] if unit == "search" else billed["input_tokens"])
    assert int(row["charge_pico"]) == counted * (2 * 10**9 if unit == "search" else price)


@pytest.mark.parametrize("place", proving_rerank("rerank-1", "documents", "usage"))
def test_jinas_shape_and_coheres_first_version_at_either_vendor(product, http, place):
    model, unit, _ = RERANKS[place]
    asked = {"model": model, "query": "toll gate", "documents": [*DOCUMENTS[:2], {"text": DOCUMENTS[2]}], "top_n": 2}
    reply = http.post("/v1/rerank", json=asked)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert (found["object"], found["model"]) == ("list", model)
    assert [one["document"]["text"] for one in found["results"]] == [DOCUMENTS[2], DOCUMENTS[0]]
    assert found["usage"]["total_tokens"] == (0 if unit == "search" else found["meta"]["billed_units"]["input_tokens"])
    row = product.wait_row(reply.headers["x-request-id"])
    assert row["units"] == ({"request": 1, "search": 1} if unit == "search" else {"request": 1})
    without = http.post("/rerank", json=asked | {"return_documents": False}).json()
    assert [set(one) for one in without["results"]] == [{"index", "relevance_score"}] * 2


@pytest.mark.parametrize("place", proving_rerank("rerank-2", "errors"))
def test_what_rerank_cannot_carry_is_refused_or_named(http, place):
    asked = {"model": RERANKS[place][0], "query": "a", "documents": DOCUMENTS}
    wrong = http.post("/v2/rerank", json=asked | {"documents": [{"text": "a", "image": "b"}], "rank_fields": ["image"]})
    assert wrong.status_code == 400
    assert wrong.json()["message"]
    named = http.post("/v2/rerank", json=asked | {"max_tokens_per_doc": 100})
    assert named.status_code == 200
    assert named.headers.get("x-tollgate-dropped", "") == ("" if place == "cohere" else "max_tokens_per_doc")


@pytest.mark.parametrize("place", proving_rerank("rerank-1", "errors"))
def test_what_looks_at_more_than_texts_is_refused_by_name(http, place):
    asked = {"model": RERANKS[place][0], "query": "a", "documents": DOCUMENTS, "rank_fields": ["title"]}
    reply = http.post("/v1/rerank", json=asked)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "rank_fields")
