"""What clients ask for beside chat: pictures, sound and the order of documents, and the replies as they read them."""

import base64
import struct

import pytest
from tests.integration import client_parsers as clients
from tests.integration.test_client_replays import BROWSER, CHERRY, STAINLESS, WEBUI, address_of, headers_of, http

pytestmark = pytest.mark.integration
__all__ = ["http"]

DRAWN = "gpt-image-1-mini"
PNG = b"\x89PNG\r\n\x1a\n"
DOCUMENTS = ["a gate", "the sea", "a toll gate"]
SOUND = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 2036, b"WAVE", b"fmt ", 16, 1, 1, 1000, 1000, 1, 8, b"data", 2000)
SOUND += bytes(2000)
LOBE = {"accept": "application/json", "x-client": "LobeHub"}


def picture_of(reply):
    """Returns the bytes of the first picture, as painting pages take them: `b64_json`, or else they fetch `url`."""
    assert reply.status_code == 200, reply.text
    assert isinstance(reply.json()["created"], int)
    first = reply.json()["data"][0]
    clients.need(first.get("b64_json") or first.get("url"), "nothing is shown")
    return base64.b64decode(first["b64_json"], validate=True)


@pytest.mark.parametrize(
    ("client", "headers", "more"),
    [
        ("nextchat", BROWSER, {"response_format": "b64_json", "n": 1, "size": "1024x1024", "quality": "auto"}),
        ("open-webui", WEBUI, {"n": 1, "size": "1024x1024"}),
        ("cherry-studio", CHERRY, {"n": 1, "size": "auto", "quality": "auto", "moderation": "auto"}),
        ("lobechat", LOBE, {"n": 1, "size": "1024x1024"}),
        ("openai-sdk", STAINLESS, {"n": 1, "user": "u"}),
    ],
)
def test_a_picture_is_drawn_for_each_client_that_draws(product, http, client, headers, more):
    address = address_of(product, client, "/images/generations")
    body = {"model": DRAWN, "prompt": "a toll gate", **more}
    reply = http.post(address, json=body, headers=headers_of(product, headers))
    assert picture_of(reply).startswith(PNG)
    if "origin" in headers:
        assert reply.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("client", "headers", "name"),
    [
        ("open-webui", WEBUI, "image"),
        ("open-webui", WEBUI, "image[]"),
        ("cherry-studio", CHERRY, "image"),
        ("openai-sdk", STAINLESS, "image[]"),
    ],
)
def test_a_picture_is_changed_by_a_form(product, http, client, headers, name):
    given = picture_of(
        http.post(
            address_of(product, client, "/images/generations"),
            json={"model": DRAWN, "prompt": "a fox"},
            headers=headers_of(product, headers),
        )
    )
    reply = http.post(
        address_of(product, client, "/images/edits"),
        data={"model": DRAWN, "prompt": "at night", "n": "1", "size": "1024x1024"},
        files=[(name, ("fox.png", given, "image/png"))],
        headers=headers_of(product, headers),
    )
    assert picture_of(reply).startswith(PNG)


@pytest.mark.parametrize(
    ("client", "headers", "more"),
    [
        ("nextchat", BROWSER, {"response_format": "mp3", "speed": 1}),
        ("open-webui", WEBUI, {}),
        ("openai-sdk", STAINLESS | {"accept": "application/octet-stream"}, {"response_format": "mp3"}),
    ],
)
def test_a_text_is_said_as_bytes_that_are_played(product, http, client, headers, more):
    body = {"model": "tts-1", "input": "Hello there.", "voice": "alloy", **more}
    reply = http.post(address_of(product, client, "/audio/speech"), json=body, headers=headers_of(product, headers))
    assert (reply.status_code, reply.headers["content-type"]) == (200, "audio/mpeg")
    # They look for JSON only where the status is none of success.
    assert len(reply.content) > 1000


@pytest.mark.parametrize("form", [None, "verbose_json", "text", "srt"])
def test_a_recording_is_written_down(product, http, form):
    more = {} if form is None else {"response_format": form}
    reply = http.post(
        address_of(product, "openai-sdk", "/audio/transcriptions"),
        data={"model": "whisper-1", **more},
        files={"file": ("speech.wav", SOUND, "audio/wav")},
        headers=headers_of(product, STAINLESS),
    )
    assert reply.status_code == 200, reply.text
    # The SDK decodes by the type of the reply, whatever was asked.
    is_json = reply.headers["content-type"].startswith("application/json")
    assert is_json == (form in {None, "verbose_json"})
    assert (reply.json()["text"] if is_json else reply.text).strip()


@pytest.mark.parametrize("model", ["jina-reranker-v2-base-multilingual", "rerank-v3.5"])
@pytest.mark.parametrize("client", ["dify-compatible", "continue"])
def test_documents_are_sorted(product, http, client, model):
    body = {"model": model, "query": "toll gate", "documents": DOCUMENTS}
    if client == "dify-compatible":
        body |= {"top_n": 2, "return_documents": True}
    headers = {"api-key": "{key}"} if client == "continue" else {}
    reply = http.post(address_of(product, client, "/rerank"), json=body, headers=headers_of(product, headers))
    assert reply.status_code == 200, reply.text
    results = reply.json()["results"]
    assert len(results) == (2 if client == "dify-compatible" else 3)
    for one in results:
        clients.need(type(one["index"]) is int and 0 <= one["index"] < 3, "no document of this place")
        clients.need(isinstance(one["relevance_score"], float), "no score")
        # Dify shows the text that comes back, and takes its own where there is none.
        assert one.get("document", {"text": DOCUMENTS[one["index"]]})["text"] == DOCUMENTS[one["index"]]
    best = max(results, key=lambda one: one["relevance_score"])
    assert best["index"] == 2


@pytest.mark.parametrize(
    ("client", "path"),
    [
        ("nextchat", "/images/generations"),
        ("open-webui", "/images/edits"),
        ("open-webui", "/audio/speech"),
        ("openai-sdk", "/audio/transcriptions"),
        ("dify-compatible", "/rerank"),
    ],
)
def test_a_wrong_key_is_an_error_that_can_be_shown(product, http, client, path):
    wrong = {"authorization": "Bearer sk-tg-wrong"}
    reply = http.post(address_of(product, client, path), json={"model": "m"}, headers=wrong)
    error = clients.read_error(reply.status_code, reply.content)
    assert (reply.status_code, error["code"]) == (401, "invalid_api_key")
    if path == "/rerank":
        # Cohere's readers and Jina's.
        assert reply.json()["message"] == reply.json()["detail"] == error["message"]
