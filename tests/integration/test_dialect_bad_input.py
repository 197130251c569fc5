"""Bad bodies of every dialect against the whole product: a 400 in the caller's shape, and the provider is not asked."""

import json
from typing import Any, Final

import httpx
import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration
GPT, CLAUDE, GEMINI = "gpt-5-mini", "claude-haiku-4-5", "gemini-3.5-flash"
# Of each dialect: a path at a model of another vendor, one at its own, a good body, and where a picture's address goes.
PATHS: Final = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "contents": "/v1beta/models/{model}:generateContent",
}
OTHERS: Final = {"chat": CLAUDE, "responses": CLAUDE, "messages": GPT, "contents": GPT}
OWN: Final = {"chat": GPT, "responses": GPT, "messages": CLAUDE, "contents": GEMINI}


def body(dialect: str, part: Any = None, **more: Any) -> dict[str, Any]:
    if dialect == "contents":
        return {"contents": [{"role": "user", "parts": [part or {"text": "hi"}]}], **more}
    content = [part] if part else "hi"
    name = "input" if dialect == "responses" else "messages"
    limit = {"max_tokens": 9} if dialect == "messages" else {}
    return {name: [{"role": "user", "content": content}], **limit, **more}


INWARD: Final = "http://169.254.169.254/latest"
PICTURES: Final = {
    "chat": {"type": "image_url", "image_url": {"url": INWARD}},
    "responses": {"type": "input_image", "image_url": INWARD},
    "messages": {"type": "image", "source": {"type": "url", "url": INWARD}},
    "contents": {"fileData": {"mimeType": "image/png", "fileUri": INWARD}},
}
TOOLS: Final = {
    "chat": [{"type": "function", "function": {"name": "f"}}] * 5000,
    "responses": [{"type": "function", "name": "f"}] * 5000,
    "messages": [{"name": "f"}] * 5000,
    "contents": [{"functionDeclarations": [{"name": "f"}] * 5000}],
}
TEMPERATURE: Final = {"chat": {"temperature": []}, "contents": {"generationConfig": {"temperature": []}}}


def translated(dialect: str) -> list[tuple[bytes, str]]:
    """Returns bodies that are refused where they are translated, and the field that is named."""
    good = json.dumps(body(dialect))
    unknown = "type" if dialect == "contents" else "hologram"
    return [
        (json.dumps(body(dialect, **TEMPERATURE.get(dialect, {"temperature": []}))).encode(), "temperature"),
        (
            json.dumps(body(dialect, part={"type": "hologram"})).encode(),
            unknown,
        ),
        (json.dumps(body(dialect, part=PICTURES[dialect])).encode(), "host"),
        (json.dumps(body(dialect, tools=TOOLS[dialect])).encode(), "tools"),
        (good.replace('"role"', '"role": "user", "role"').encode(), "role"),
        (good.replace('"user"', "[7]").encode(), "role"),
    ]


def passed(dialect: str) -> list[tuple[bytes, str]]:
    """Returns bodies that are refused also where they would pass as they came."""
    other = {"generationConfig": []} if dialect == "contents" else {"temperature": []}
    (name,) = other
    return [
        (json.dumps(body(dialect, **other)).encode(), name),
        (json.dumps(body(dialect, part=PICTURES[dialect])).encode(), "host"),
        (json.dumps(body(dialect, tools=TOOLS[dialect])).encode(), "tools"),
    ]


def everywhere(dialect: str) -> list[bytes]:
    """Returns bodies that are refused whoever serves the model."""
    good = json.dumps(body(dialect, x="mark")).encode()
    bad = (b"NaN", b"\xff", b'"\xff"', b'"\\ud800"', b"[" * 1000 + b"]" * 1000, b"Infinity", b"01", b"tru")
    return [good.replace(b'"mark"', one) for one in bad]


def ask(product: Product, dialect: str, model: str, content: bytes) -> httpx.Response:
    if dialect != "contents":
        content = content.replace(b"{", b'{"model": "%b", ' % model.encode(), 1)
    address = product.url + PATHS[dialect].format(model=model)
    headers = {"authorization": f"Bearer {product.api_key}", "content-type": "application/json"}
    return httpx.post(address, content=content, headers=headers, trust_env=False, timeout=60)


def words(dialect: str, reply: httpx.Response) -> str:
    """Returns the message of an error in its dialect's shape; fails for another shape."""
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    if dialect == "messages":
        assert reply.json()["type"] == "error"
        assert error["type"] == "invalid_request_error"
    elif dialect == "contents":
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    else:
        assert set(error) >= {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
    return str(error["message"])


@pytest.mark.parametrize("dialect", PATHS)
def test_bad_bodies_are_refused_before_a_provider_is_asked(product: Product, dialect: str) -> None:
    before = product.simulator_summary()["requests"]
    for content, field in translated(dialect):
        assert field in words(dialect, ask(product, dialect, OTHERS[dialect], content)), content[:300]
    for content, field in passed(dialect):
        assert field in words(dialect, ask(product, dialect, OWN[dialect], content)), content[:300]
    for content in everywhere(dialect):
        assert words(dialect, ask(product, dialect, OWN[dialect], content))
    assert product.simulator_summary()["requests"] == before
    good = ask(product, dialect, OTHERS[dialect], json.dumps(body(dialect)).encode())
    assert good.status_code == 200, good.text


def test_what_a_caller_invents_does_not_reach_the_headers_of_the_reply(product: Product) -> None:
    content = json.dumps(body("chat") | {"a\r\nset-cookie: x=1": 2, "é": 2}).encode()
    reply = ask(product, "chat", CLAUDE, content)
    assert reply.status_code == 200
    assert "set-cookie" not in reply.headers
    assert reply.headers["x-tollgate-dropped"] == "a__set-cookie__x_1, _"
