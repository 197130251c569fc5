"""The page at the address that `tollgate up` prints."""

import re

import pytest

from tollgate_edge.api.welcome import prefers_chinese

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("accepted", "lang", "word"),
    [("", "en", "Base URL"), ("de, en;q=0.5", "en", "Base URL"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh", "基础 URL")],
)
async def test_the_page_needs_no_key_and_names_what_is_there(world, accepted, lang, word):
    reply = await world.client.get("/", headers={"accept-language": accepted})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["vary"] == "accept-language"
    page = reply.text
    assert f'<html lang="{lang}">' in page
    assert word in page
    assert "http://edge.test/v1/chat/completions" in page
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert links == ["/v1/models", "/readyz", "/api/openapi.json", "/docs/errors"]
    for link in links:
        assert (await world.client.get(link, headers=world.bearer)).status_code == 200


async def test_head_says_what_get_would(world):
    got, headed = await world.client.get("/"), await world.client.head("/")
    assert headed.status_code == 200
    assert headed.content == b""
    assert headed.headers["content-type"] == got.headers["content-type"]
    assert headed.headers["content-length"] == got.headers["content-length"]


async def test_a_host_cannot_put_markup_into_the_page(world):
    reply = await world.client.get("/", headers={"host": "a<script>alert(1)</script>"})
    assert "<script" not in reply.text


@pytest.mark.parametrize(
    ("accepted", "chinese"),
    [
        ("", False),
        ("*", False),
        ("zh", True),
        ("zh-Hans-CN", True),
        ("en, zh", False),
        ("zh, en", True),
        ("zh;q=0.1, en;q=0.9", False),
        ("en;q=0.1,zh;q=0.9", True),
        ("zh;q=0", False),
        ("zh;q=x,,;", True),
    ],
)
def test_the_language_is_what_the_reader_prefers(accepted, chinese):
    assert prefers_chinese(accepted) is chinese
