"""The endpoints beside chat, by the current openai package for Python, unmodified, against the whole product."""

import base64
import io
import json
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from tests.integration import sdk_packages
from tests.integration.product import Product

pytestmark = pytest.mark.integration
CHAT = "gpt-5-mini"
HELLO = "Once upon a time there was a toll gate that nobody could pass."


@pytest.fixture
def client(product: Product) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, timeout=60) as one:
        yield one


@pytest.fixture
def http(product: Product) -> Iterator[httpx.Client]:
    """A client that speaks for itself, without /v1."""
    headers = {"authorization": f"Bearer {product.api_key}"}
    with httpx.Client(base_url=product.url, headers=headers, timeout=60, trust_env=False) as one:
        yield one


def recording(seconds: int) -> io.BytesIO:
    """Returns a WAV file of so many seconds of silence, 1,000 bytes each."""
    size = 1000 * seconds
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 1000, 1000, 1, 8, b"data", size
    )
    file = io.BytesIO(head + bytes(size))
    file.name = "speech.wav"
    return file


# Completions.


def test_completions_whole_and_streamed_say_the_same_and_are_charged_once(
    client: openai.OpenAI, product: Product
) -> None:
    whole = client.completions.create(model=CHAT, prompt=HELLO, max_tokens=12)
    assert whole.object == "text_completion"
    text = whole.choices[0].text
    assert text
    assert whole.usage is not None
    quiet = client.completions.with_raw_response.create(model=CHAT, prompt=HELLO, max_tokens=12, stream=True)
    chunks = list(quiet.parse())
    assert "".join(chunk.choices[0].text for chunk in chunks) == text
    assert [chunk.usage for chunk in chunks if chunk.usage] == []
    told = list(
        client.completions.create(
            model=CHAT, prompt=HELLO, max_tokens=12, stream=True, stream_options={"include_usage": True}
        )
    )
    usages = [chunk.usage for chunk in told if chunk.usage]
    assert usages == [whole.usage]
    assert told[-1].choices == []
    for request_id in (whole._request_id or "", quiet.headers["x-request-id"]):
        row = product.wait_row(request_id)
        assert row["operation"] == "completion"
        assert (row["input_tokens"], row["output_tokens"]) == (whole.usage.prompt_tokens, 12)
        assert row["charge_pico"] == whole.usage.prompt_tokens * 250_000 + 12 * 2_000_000


def test_completions_of_several_prompts_with_echo_suffix_and_tokens(client: openai.OpenAI, product: Product) -> None:
    reply = client.completions.create(model=CHAT, prompt=["One.", "Two."], n=2, echo=True, suffix="!", max_tokens=3)
    assert [choice.text[:4] for choice in reply.choices] == ["One.", "One.", "Two.", "Two."]
    row = product.wait_row(reply._request_id or "")
    assert row["output_tokens"] == 12
    assert client.completions.create(model=CHAT, prompt=[1, 2, 3], max_tokens=1).choices[0].text
    assert len(client.completions.create(model=CHAT, prompt=[[1, 2], [3]], max_tokens=1).choices) == 2


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "gemini-3.5-flash", "deepseek-chat"])
def test_completions_of_models_that_only_chat(client: openai.OpenAI, product: Product, model: str) -> None:
    whole = client.completions.with_raw_response.create(model=model, prompt=HELLO, max_tokens=40, stop="nobody")
    found = whole.parse()
    assert (found.object, found.model, len(found.choices)) == ("text_completion", model, 1)
    text = found.choices[0].text
    assert text.startswith("[simulated] You said: Once upon a time")
    assert "nobody" not in text
    assert found.usage is not None
    row = product.wait_row(whole.headers["x-request-id"])
    assert (row["operation"], row["outcome"], row["estimated"]) == ("completion", "ok", False)
    assert (row["input_tokens"], row["output_tokens"]) == (found.usage.prompt_tokens, found.usage.completion_tokens)
    assert row["charge_pico"] > 0
    chunks = list(
        client.completions.create(
            model=model, prompt=HELLO, max_tokens=40, stop="nobody", stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == text
    assert (chunks[-2].choices[0].finish_reason, chunks[-1].usage) == (found.choices[0].finish_reason, found.usage)
    for name, value in {"suffix": "!", "echo": True, "logprobs": 1, "best_of": 2, "n": 2, "prompt": ["a", "b"]}.items():
        asked: dict[str, Any] = {"model": model, "prompt": HELLO, name: value}
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(**asked)
        assert caught.value.param == name


# Audio.


@pytest.mark.parametrize(("form", "kind"), [("mp3", "audio/mpeg"), ("wav", "audio/wav"), ("opus", "audio/opus")])
def test_speech_comes_as_bytes_and_is_charged_by_the_character(
    client: openai.OpenAI, product: Product, form: str, kind: str
) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Grüße, 世界.", response_format=form
    ) as reply:
        assert reply.headers["content-type"] == kind
        sound = b"".join(reply.iter_bytes())
    assert len(sound) >= 8000
    row = product.wait_row(reply.headers["x-request-id"])
    assert row["units"] == {"request": 1, "character": 10}
    assert row["charge_pico"] == 10 * 15 * 10**6
    assert row["estimated"] is False


def test_speech_as_events_says_its_tokens_and_is_charged_by_them(http: httpx.Client, product: Product) -> None:
    asked = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": HELLO, "stream_format": "sse"}
    reply = http.post("/audio/speech", json=asked)
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = [line for line in reply.text.split("\n\n") if line]
    assert "speech.audio.delta" in events[0]
    assert "speech.audio.done" in events[-1]
    row = product.wait_row(reply.headers["x-request-id"])
    seconds = len(HELLO) // 15 + 1
    assert (row["input_tokens"], row["units"]["audio_output"]) == (-(-len(HELLO) // 4), seconds * 20)
    assert row["charge_pico"] == row["input_tokens"] * 600_000 + row["units"]["audio_output"] * 12_000_000
    assert row["estimated"] is False


def test_speech_of_a_model_that_is_paid_by_token_is_estimated_where_nobody_counts(
    client: openai.OpenAI, product: Product
) -> None:
    reply = client.audio.speech.with_raw_response.create(model="gpt-4o-mini-tts", voice="alloy", input=HELLO)
    row = product.wait_row(reply.headers["x-request-id"])
    assert row["estimated"] is True
    assert row["units"]["audio_output"] == (len(HELLO) // 15 + 1) * 20
    assert row["charge_pico"] > 0


@pytest.mark.parametrize("form", ["json", "verbose_json", "text", "srt", "vtt"])
def test_transcripts_of_every_format_are_charged_by_the_second(
    client: openai.OpenAI, product: Product, form: str
) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(
        model="whisper-1", file=recording(7), response_format=form
    )
    found = raw.parse()
    assert (found if isinstance(found, str) else found.text).strip()
    kind = {"json": "application/json", "verbose_json": "application/json", "vtt": "text/vtt; charset=utf-8"}
    assert raw.headers["content-type"] == kind.get(form, "text/plain; charset=utf-8")
    row = product.wait_row(raw.headers["x-request-id"])
    assert row["operation"] == "transcription"
    assert row["units"] == {"request": 1, "audio_second": 7}
    assert row["charge_pico"] == 7 * 10**8
    # What is no JSON says nothing about its length: that of the file is taken.
    assert row["estimated"] is ("json" not in form)


def test_a_transcript_streams_and_is_charged_by_its_tokens(client: openai.OpenAI, product: Product) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(
        model="gpt-4o-transcribe", file=recording(5), stream=True
    )
    events = list(raw.parse())
    assert {event.type for event in events} == {"transcript.text.delta", "transcript.text.done"}
    last = events[-1]
    assert "".join(event.delta for event in events[:-1]).strip() == last.text
    row = product.wait_row(raw.headers["x-request-id"])
    assert (row["units"]["audio_input"], row["output_tokens"]) == (50, last.usage.output_tokens)
    assert row["charge_pico"] == 50 * 2_500_000 + last.usage.output_tokens * 10_000_000


def test_a_model_that_does_not_stream_answers_a_stream_all_the_same(client: openai.OpenAI) -> None:
    events = list(client.audio.transcriptions.create(model="whisper-1", file=recording(2), stream=True))
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[0].delta == events[1].text


def test_translations_and_a_large_file(http: httpx.Client, product: Product) -> None:
    # 3 MB: the body comes to the router in many frames.
    reply = http.post("/audio/translations", data={"model": "whisper-1"}, files={"file": recording(3000)})
    assert reply.json()["text"]
    row = product.wait_row(reply.headers["x-request-id"])
    assert (row["operation"], row["units"]) == ("translation", {"request": 1, "audio_second": 3000})


# Rerank and moderations.


def test_rerank_in_jinas_shape_is_charged_by_the_token(http: httpx.Client, product: Product) -> None:
    asked = {
        "model": "jina-reranker-v2-base-multilingual",
        "query": "toll gate",
        "documents": ["a gate", "the sea", "a toll gate"],
    }
    for path in ("/v1/rerank", "/rerank"):
        reply = http.post(path, json=asked | {"top_n": 2, "return_documents": True})
        assert reply.status_code == 200, reply.text
        found = reply.json()
        assert [one["index"] for one in found["results"]] == [2, 0]
        assert found["results"][0]["document"] == {"text": "a toll gate"}
    row = product.wait_row(reply.headers["x-request-id"])
    assert (row["operation"], row["input_tokens"]) == ("rerank", found["usage"]["total_tokens"])
    assert row["charge_pico"] == row["input_tokens"] * 50_000


def test_rerank_in_coheres_shape_is_charged_by_the_search(http: httpx.Client, product: Product) -> None:
    reply = http.post("/v2/rerank", json={"model": "rerank-v3.5", "query": "a", "documents": ["a"] * 101})
    found = reply.json()
    assert len(found["results"]) == 101
    assert found["meta"]["billed_units"] == {"search_units": 2}
    row = product.wait_row(reply.headers["x-request-id"])
    assert row["units"] == {"request": 1, "search": 2}
    assert row["charge_pico"] == 2 * 2 * 10**9


def test_rerank_by_coheres_own_client_in_both_versions_of_its_api(product: Product) -> None:
    python = sdk_packages.python(sdk_packages.OLDER, "The cohere package")
    found = json.loads(
        subprocess.run(
            [python, "-W", "ignore", "rerank.py", json.dumps({"url": product.url, "key": product.api_key})],
            cwd=sdk_packages.FOLDER,
            env=sdk_packages.environment(),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    )
    for version in ("v1", "v2"):
        assert [index for index, _ in found[version]["results"]] == [2, 0]
        assert all(0 <= score <= 1 for _, score in found[version]["results"])
        assert found[version]["searches"] == 1
        assert found[version]["id"]
    kind, status, body = found["refused"]
    assert (kind, status) == ("NotFoundError", 404)
    # What it shows of an error.
    assert "not-there" in body["message"]


def test_moderations_need_no_model_and_cost_what_the_book_says(client: openai.OpenAI, product: Product) -> None:
    reply = client.moderations.create(input=["a fine day", "violence at the gate"])
    assert [result.flagged for result in reply.results] == [False, True]
    assert reply.results[1].categories.violence is True
    row = product.wait_row(reply._request_id or "")
    assert (row["operation"], row["model"], row["units"]) == ("moderation", "omni-moderation-latest", {"request": 1})
    assert (row["charge_pico"], row["unpriced"]) == (0, False)


# Gemini's dialect.


@pytest.mark.parametrize("model", ["text-embedding-3-small", "gemini-embedding-001"])
def test_embeddings_in_geminis_dialect_are_those_of_openais(
    client: openai.OpenAI, http: httpx.Client, product: Product, model: str
) -> None:
    texts = ["one", "another text"]
    usual = client.embeddings.create(model=model, input=texts, dimensions=64)
    requests = [
        {"model": f"models/{model}", "content": {"parts": [{"text": text}]}, "outputDimensionality": 64}
        for text in texts
    ]
    batch = http.post(f"/v1beta/models/{model}:batchEmbedContents", json={"requests": requests})
    found = [one["values"] for one in batch.json()["embeddings"]]
    for one, other in zip(usual.data, found, strict=True):
        assert one.embedding == pytest.approx(other, abs=1e-6)
    single = http.post(f"/v1/models/{model}:embedContent", json=requests[1])
    assert single.json()["embedding"]["values"] == found[1]
    row = product.wait_row(batch.headers["x-request-id"])
    assert (row["operation"], row["input_tokens"]) == ("embeddings", usual.usage.prompt_tokens)


def test_a_stream_of_gemini_is_an_array_where_nobody_asks_for_events(http: httpx.Client, product: Product) -> None:
    path, body = f"/v1beta/models/{CHAT}:streamGenerateContent", {"contents": [{"parts": [{"text": "Say hello"}]}]}
    events = http.post(path, params={"alt": "sse"}, json=body)
    reply = http.post(path, json=body)
    assert events.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["content-type"].startswith("application/json")
    assert len(reply.json()) == len([line for line in events.text.splitlines() if line])
    row = product.wait_row(reply.headers["x-request-id"])
    assert row["output_tokens"] == reply.json()[-1]["usageMetadata"]["candidatesTokenCount"]
    # It breaks when its beginning is there: where nothing was sent yet it would be an error with a status.
    asked = {"contents": [{"parts": [{"text": "Say [[sim:chunks=20,hold=8,mid_error=8]]"}]}]}
    with http.stream("POST", path, json=asked) as broken:
        pieces = broken.iter_raw()
        beginning = next(pieces)
        product.release()
        assert "error" in json.loads(beginning + b"".join(pieces))[-1]


# Pictures.


def test_pictures_are_edited_and_varied(client: openai.OpenAI, http: httpx.Client, product: Product) -> None:
    drawn = client.images.generate(model="gpt-image-2", prompt="a red kite", size="1024x1024")
    assert drawn.data is not None
    picture = base64.b64decode(drawn.data[0].b64_json or "")
    edited = client.images.edit(
        model="gpt-image-2", prompt="a blue kite", image=[("a.png", picture), ("b.png", picture)], size="1024x1024"
    )
    assert edited.data is not None
    other = base64.b64decode(edited.data[0].b64_json or "")
    assert other.startswith(b"\x89PNG\r\n\x1a\n")
    assert other != picture
    row = product.wait_row(edited._request_id or "")
    assert row["operation"] == "image"
    assert edited.usage is not None
    assert row["units"]["image_input"] == edited.usage.input_tokens_details.image_tokens == 640
    assert row["charge_pico"] > 0
    with pytest.raises(openai.BadRequestError, match="neither PNG, JPEG nor WebP"):
        client.images.edit(model="gpt-image-2", prompt="x", image=("a.png", b"no picture"))
    # The provider has the last word on a model.
    varied = http.post("/images/variations", data={"model": "gpt-image-2"}, files={"image": picture})
    assert (varied.status_code, "dall-e-2" in varied.json()["error"]["message"]) == (400, True)


@pytest.mark.parametrize(
    ("given", "status", "param"),
    [
        ({"json": {"model": "gpt-image-2", "prompt": "x"}}, 415, None),
        ({"data": {"model": "gpt-image-2", "prompt": "x"}, "files": {"other": b"x"}}, 400, "other"),
        ({"data": {"model": "gpt-image-2", "prompt": "x"}, "files": {"image": b""}}, 400, "image"),
        ({"data": {"prompt": "x"}, "files": {"image": b"x"}}, 400, "model"),
        ({"data": {"model": CHAT, "prompt": "x"}, "files": {"image": b"x"}}, 400, "model"),
        ({"data": {"model": "gpt-image-2"}, "files": {"image": b"x"}}, 400, "prompt"),
        ({"data": {"model": "gpt-image-2", "prompt": "x", "n": "many"}, "files": {"image": b"x"}}, 400, "n"),
    ],
)
def test_bad_forms_of_pictures_are_refused(
    http: httpx.Client, given: dict[str, Any], status: int, param: str | None
) -> None:
    reply = http.post("/images/edits", **given)
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param), reply.text


# What is refused.


def test_a_model_of_another_kind_says_where_it_is_asked(client: openai.OpenAI) -> None:
    with pytest.raises(
        openai.BadRequestError, match=r"is for chat, not for embedding\. Ask it at /v1/chat/completions"
    ):
        client.embeddings.create(model=CHAT, input="x")
    with pytest.raises(openai.BadRequestError, match="is for speech, not for transcription"):
        client.audio.transcriptions.create(model="tts-1", file=recording(1))


def test_what_a_provider_that_chats_cannot_do_of_completions_is_refused(http: httpx.Client) -> None:
    reply = http.post("/v1/completions", json={"model": "claude-sonnet-4-5", "prompt": "x", "echo": True})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "invalid_request", "echo")


def test_a_caller_who_leaves_is_charged_for_what_the_provider_charges(http: httpx.Client, product: Product) -> None:
    asked = {"model": "tts-1", "voice": "alloy", "input": HELLO + "[[sim:hold=1]]"}
    with http.stream("POST", "/v1/audio/speech", json=asked) as reply:
        request_id = reply.headers["x-request-id"]
        next(reply.iter_raw())
    row = product.wait_row(request_id)
    assert row["outcome"] == "cancelled"
    assert row["units"] == {"request": 1, "character": len(asked["input"])}
