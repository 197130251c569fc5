"""Error bodies of every dialect link to the page of errors, which has an entry for each."""

import json
import re

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.error_table import TABLE
from tollgate_edge.errors import public_error
from tollgate_edge.faces import ANTHROPIC, GEMINI, OPENAI, RESPONSES

pytestmark = pytest.mark.unit

DOCS = "https://gate.test/docs/errors"
ENTRIES = [pytest.param(entry, id=entry.code) for entry in TABLE]


def made(entry):
    return public_error(entry.kind, code=entry.code)


@pytest.mark.parametrize("entry", ENTRIES)
def test_each_dialect_says_it_in_its_words_and_links_to_it(entry):
    error = made(entry)
    assert error.entry is entry
    assert (error.status, error.code) == (entry.status, entry.code)
    link = f"{DOCS}#{entry.code}"
    said = json.loads(OPENAI.error(error, "req_1", DOCS))["error"]
    assert (said["type"], said["code"], said["doc_url"]) == (entry.type, entry.code, link)
    said = json.loads(ANTHROPIC.error(error, "req_1", DOCS))
    assert (said["type"], said["request_id"]) == ("error", "req_1")
    assert (said["error"]["type"], said["error"]["doc_url"]) == (entry.anthropic, link)
    said = json.loads(GEMINI.error(error, "req_1", DOCS))["error"]
    assert (said["code"], said["status"]) == (entry.status, entry.gemini)
    (help_,) = [one for one in said["details"] if one["@type"].endswith("google.rpc.Help")]
    assert help_["links"] == [{"description": entry.code, "url": link}]


def test_a_provider_that_is_overloaded_has_a_status_of_its_own_in_anthropics_dialect():
    error = public_error(
        errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, "busy", code="server_is_overloaded", retry_after_ms=1500
    )
    assert (error.status, error.type) == (503, "server_error")
    for face, status in ((OPENAI, 503), (RESPONSES, 503), (GEMINI, 503), (ANTHROPIC, 529)):
        spoken = face.spoken(error)
        assert (spoken.status, spoken.headers["retry-after"]) == (status, "2")
    other = public_error(errors.ERROR_KIND_UPSTREAM_UNAVAILABLE)
    assert ANTHROPIC.spoken(other).status == 502


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("The input token count (9) exceeds 7.", "prompt is too long: The input token count (9) exceeds 7."),
        ("", f"prompt is too long: {public_error(errors.ERROR_KIND_CONTEXT_LENGTH).message}"),
        ("Prompt is too long", "Prompt is too long"),
        ("prompt is too long: 9 tokens > 7 maximum", "prompt is too long: 9 tokens > 7 maximum"),
        # Who reads this one asks again for a shorter answer.
        ("input length and `max_tokens` exceed context limit: 5 + 4 > 7", None),
    ],
)
def test_a_client_of_claude_knows_a_prompt_that_is_too_long_by_the_words(said, told):
    error = public_error(errors.ERROR_KIND_CONTEXT_LENGTH, said)
    for body in (
        ANTHROPIC.error(error, "req_1", DOCS),
        ANTHROPIC.error_event(error, "req_1", DOCS).split(b"data: ")[1],
    ):
        assert json.loads(body)["error"]["message"] == (told or said)
    assert json.loads(OPENAI.error(error, "req_1", DOCS))["error"]["message"] == error.message


def test_events_that_end_a_stream_link_to_it_too():
    error = public_error(errors.ERROR_KIND_UPSTREAM_CUT)
    for face in (OPENAI, RESPONSES, ANTHROPIC, GEMINI):
        assert f"{DOCS}#upstream_cut".encode() in face.error_event(error, "req_1", DOCS)
    # The id is that of the events before it.
    assert b'"id": "resp_1"' in RESPONSES.error_event(error, "req_1", DOCS)


def lines_of(event):
    assert event.endswith(b"\n\n")
    return [frame.decode().split("\n") for frame in event.split(b"\n\n")[:-1]]


def check_openai(error):
    # A client shows the reason phrase where there are no words, and fails where a name is missing.
    assert error["message"]
    assert all(isinstance(error[name], str) for name in ("message", "type"))
    assert all(error[name] is None or isinstance(error[name], str) for name in ("param", "code"))


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_broken_stream_ends_in_the_form_that_clients_read(entry):
    error = made(entry)
    check_openai(json.loads(OPENAI.error(error, "req_1", DOCS))["error"])
    # An event called error, an error that is a text, and other lines than data each break one of OpenAI's clients.
    (data,), done = lines_of(OPENAI.error_event(error, "req_1", DOCS))
    assert done == ["data: [DONE]"]
    check_openai(json.loads(data.removeprefix("data: "))["error"])
    # The package for Python knows only the nested form, and what failed must be said behind it.
    found = [(name, json.loads(data[6:])) for name, data in lines_of(RESPONSES.error_event(error, "req_1", DOCS))]
    assert [(name, event["type"]) for name, event in found] == [
        ("event: error", "error"),
        ("event: response.failed", "response.failed"),
    ]
    check_openai(found[0][1]["error"])
    assert found[1][1]["response"]["error"]["code"]
    # Without its event line this frame is nothing to Anthropic's clients.
    ((name, data),) = lines_of(ANTHROPIC.error_event(error, "req_1", DOCS))
    assert name == "event: error"
    assert json.loads(data[6:])["error"]["message"]
    # Gemini's read nothing but this.
    ((data,),) = lines_of(GEMINI.error_event(error, "req_1", DOCS))
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == entry.status


def test_silence_is_filled_with_what_no_client_takes_for_more():
    assert {face.keep_alive for face in (OPENAI, RESPONSES)} == {b": keep-alive\n\n"}
    name, data = lines_of(ANTHROPIC.keep_alive)[0]
    assert (name, json.loads(data[6:])) == ("event: ping", {"type": "ping"})
    assert GEMINI.keep_alive == b"\n"
    for face in (OPENAI, RESPONSES, ANTHROPIC, GEMINI):
        head = dict(line.split(b": ", 1) for line in face.stream_lines.split(b"\r\n")[:-1])
        assert head[b"content-type"].startswith(b"text/event-stream")
        assert (head[b"cache-control"], head[b"x-accel-buffering"]) == (b"no-cache", b"no")


@pytest.mark.parametrize(
    ("kind", "code", "sent", "anchor"),
    [
        # What a provider calls an invalid request is passed on, but not a number.
        (errors.ERROR_KIND_INVALID_REQUEST, "integer_below_min_value", "integer_below_min_value", "invalid_request"),
        (errors.ERROR_KIND_INVALID_REQUEST, "400", "invalid_request", "invalid_request"),
        # Clients have screens for these codes, and only for these.
        (errors.ERROR_KIND_CONTEXT_LENGTH, "400", "context_length_exceeded", "context_length_exceeded"),
        (errors.ERROR_KIND_CONTEXT_LENGTH, "string_above_max_length", "string_above_max_length", None),
        (errors.ERROR_KIND_CONTENT_POLICY, "data_inspection_failed", "content_policy_violation", None),
        # A code of ours that is of another kind is not believed.
        (errors.ERROR_KIND_MODEL_NOT_FOUND, "insufficient_quota", "model_not_found", "model_not_found"),
    ],
)
def test_codes_of_providers_are_those_that_clients_know(kind, code, sent, anchor):
    error = public_error(kind, "no", code=code)
    assert error.code == sent
    assert error.link("").startswith("/docs/errors#")
    if anchor is not None:
        assert error.link("") == f"/docs/errors#{anchor}"


@pytest.mark.parametrize(
    ("query", "accepted", "lang", "word"),
    [
        ("", "", "en", "What to do:"),
        ("", "zh-CN,zh;q=0.9", "zh", "处理办法"),
        ("?lang=zh", "en", "zh", "处理办法"),
        ("?lang=en", "zh", "en", "What to do:"),
        ("?lang=<script>", "en", "en", "What to do:"),
    ],
)
async def test_the_page_has_an_anchor_for_every_code_in_both_languages(world, query, accepted, lang, word):
    reply = await world.client.get(f"/docs/errors{query}", headers={"accept-language": accepted})
    assert reply.status_code == 200
    assert reply.headers["vary"] == "accept-language"
    assert f'<html lang="{lang}">' in reply.text
    assert word in reply.text
    assert "<script" not in reply.text
    anchors = re.findall(r' id="([^"]+)"', reply.text)
    assert anchors == [code for entry in TABLE for code in (entry.code, *entry.also)]
    # Nothing is loaded from elsewhere.
    assert not re.findall(r'(?:href|src)="(?!\?lang=|#)', reply.text)


async def test_an_error_of_the_api_links_to_a_page_that_is_there(world):
    reply = await world.client.get("/v1/models", headers={"authorization": "Bearer sk-tg-wrong"})
    check_error(reply, 401, "invalid_api_key")
    page, _, anchor = reply.json()["error"]["doc_url"].partition("#")
    assert page == "http://edge.test/docs/errors"
    assert f'id="{anchor}"' in (await world.client.get(page)).text
