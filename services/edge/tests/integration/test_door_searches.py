"""What searches of the web and other tools are held for, and what is refused since nobody has set a price for them."""

import json

import pytest
from services.edge.tests.fakes.door import clean
from services.edge.tests.fakes.inference import chat

from tollgate_edge.ports import EdgeModel, EdgeVersion
from tollgate_rating import PriceBook, PriceTable

pytestmark = pytest.mark.integration

TOKENS = {"input": "0", "output": "0"}
# Half a cent for a search, in pico-units.
SEARCH = 5 * 10**9
PRICES = {
    "finds": {**TOKENS, "search": "0.005"},
    "finds-by-size": {**TOKENS, "search": "0.001", "search:high": "0.005"},
    "unpriced-finds": TOKENS,
    "talks": TOKENS,
    "mine": TOKENS,
}
ABLE = {"abilities": ("tools", "web_search")}
MODELS = {
    "finds": EdgeModel("finds", "chat", "tests", 0, **ABLE),
    "finds-by-size": EdgeModel("finds-by-size", "chat", "tests", 0, searches=1, **ABLE),
    "unpriced-finds": EdgeModel("unpriced-finds", "chat", "tests", 0, **ABLE),
    # The catalogue knows that it does not search.
    "talks": EdgeModel("talks", "chat", "tests", 0, abilities=("tools",)),
    # The catalogue does not know it.
    "mine": EdgeModel("mine", "", "me", 0),
}
MESSAGES = [{"role": "user", "content": "hi"}]
TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 1}
FACES = {
    "chat": ("/v1/chat/completions", {"messages": MESSAGES}),
    "messages": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 9}),
    "responses": ("/v1/responses", {"input": "hi"}),
    # Whose provider has nothing else is asked by chat.
    "completions": ("/v1/completions", {"prompt": "hi", "max_tokens": 9}),
    "contents": ("/v1beta/models/{}:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}),
}


def serve(bench, **changed):
    book = PriceBook(name="public", effective_us=0, currency="USD", models=PRICES)
    bench.version = EdgeVersion("sha256:1", 1, PriceTable([book]), {"default": MODELS | changed})


def asking(face, model, **more):
    path, body = FACES[face]
    return chat(path=path.format(model), body=json.dumps({"model": model, **body, **more}).encode())


async def held(bench, client, request):
    client.send(request)
    frame = await bench.stream.next()
    bench.stream.reply(frame.id, b"{}")
    await client.reply()
    return bench.admission.amounts[-1]


@pytest.mark.parametrize("face", FACES)
async def test_a_model_that_searches_for_every_answer_holds_the_dearest_search_unasked(bench, face):
    client = await bench.client()
    serve(bench)
    assert await held(bench, client, asking(face, "finds-by-size")) == SEARCH
    serve(bench, finds=EdgeModel("finds", "chat", "tests", 0, searches=100))
    assert await held(bench, client, asking(face, "finds")) == 100 * SEARCH
    serve(bench)
    assert await held(bench, client, asking(face, "finds")) == 0
    await clean(bench)


async def test_what_is_asked_for_is_held_where_it_is_more(bench):
    client = await bench.client()
    serve(bench)
    twice = [{**TOOL, "max_uses": 2}]
    assert await held(bench, client, asking("messages", "finds-by-size", tools=twice)) == 2 * SEARCH
    assert await held(bench, client, asking("messages", "talks", tools=twice)) == 0
    talks = EdgeModel("talks", "chat", "tests", 0, fallbacks=("finds",))
    serve(bench, talks=talks)
    assert await held(bench, client, asking("messages", "talks", tools=twice)) == 2 * SEARCH
    await clean(bench)


ASKED = {
    "chat": {"web_search_options": {}},
    "messages": {"tools": [TOOL]},
    "responses": {"tools": [{"type": "web_search"}]},
    "contents": {"tools": [{"googleSearch": {}}]},
}


@pytest.mark.parametrize("model", ["unpriced-finds", "mine"])
@pytest.mark.parametrize("face", ASKED)
async def test_a_search_without_a_price_is_refused_before_anybody_is_asked(bench, face, model):
    client = await bench.client()
    serve(bench)
    client.send(asking(face, model, **ASKED[face]))
    status, _, body = await client.reply()
    assert status == 404
    assert f"'{model}' has no price for 'search'".encode() in body
    assert b"Leave out what may use it, ask another model, or have an operator set a price for 'search'." in body
    assert bench.stream.opened.empty()
    assert bench.counters.unpriced == 1
    # Without a search it is served.
    assert await held(bench, client, asking(face, model)) == 0
    await clean(bench)


@pytest.mark.parametrize("kind", ["code_interpreter", "file_search", "image_generation", "shell"])
async def test_a_tool_of_the_provider_without_a_price_is_refused_where_it_can_run(bench, kind):
    client = await bench.client()
    runs = EdgeModel("talks", "chat", "tests", 0, runs_tools=True)
    offered = {"tools": [{"type": kind}], "max_tool_calls": 3}
    serve(bench, talks=runs)
    for model in ("talks", "mine"):
        client.send(asking("responses", model, **offered))
        status, _, body = await client.reply()
        assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_priced")
        assert f"'{model}' has no price for 'tool_call:{kind}'".encode() in body
    assert bench.stream.opened.empty()
    # Where no provider speaks the API, the tool does not run: the router leaves it out or refuses it.
    serve(bench)
    assert await held(bench, client, asking("responses", "talks", **offered)) == 0
    book = {"talks": TOKENS | {f"tool_call:{kind}": "0.005"}}
    prices = PriceTable([PriceBook(name="public", effective_us=0, currency="USD", models=book)])
    bench.version = EdgeVersion("sha256:2", 2, prices, {"default": {"talks": runs}})
    assert await held(bench, client, asking("responses", "talks", **offered)) == 3 * SEARCH
    await clean(bench)


async def test_an_answer_from_maps_without_a_price_is_refused(bench):
    client = await bench.client()
    serve(bench)
    client.send(asking("contents", "finds", tools=[{"googleMaps": {}}]))
    status, _, body = await client.reply()
    assert status == 404
    assert b"'finds' has no price for 'tool_call:google_maps'" in body
    assert bench.stream.opened.empty()
    assert await held(bench, client, asking("contents", "talks", tools=[{"googleMaps": {}}])) == 0
    await clean(bench)


async def test_a_fallback_or_a_model_that_always_searches_needs_a_price_as_well(bench):
    client = await bench.client()
    serve(
        bench,
        talks=EdgeModel("talks", "chat", "tests", 0, fallbacks=("unpriced-finds",)),
        mine=EdgeModel("mine", "chat", "me", 0, searches=1),
    )
    client.send(asking("messages", "talks", tools=[TOOL]))
    assert (await client.reply())[0] == 404
    client.send(asking("chat", "mine"))
    assert (await client.reply())[0] == 404
    assert bench.stream.opened.empty()
    await clean(bench)


async def test_a_function_of_that_name_is_no_search(bench):
    client = await bench.client()
    serve(bench)
    function = {"type": "function", "name": "web_search", "parameters": {"type": "object"}}
    assert await held(bench, client, asking("responses", "mine", tools=[function])) == 0
    await clean(bench)
