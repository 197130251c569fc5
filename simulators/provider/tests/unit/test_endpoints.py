"""The simulated endpoints beside chat: what is counted, and what is refused as the vendors refuse it."""

import json
import re
import struct

import pytest

from tollgate_simulator_provider import completions, faults, forms, gemini, judgements, operations, sounds
from tollgate_simulator_provider.refusals import Refused

WAV = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, 1000, 1000, 1, 8, b"data", 2500)
RECORDING = WAV + bytes(2500)
PNG = b"\x89PNG\r\n\x1a\n"


def completed(**request):
    asked = {"model": "m", "prompt": "Once", "max_tokens": 3, **request}
    completions.check(asked)
    return completions.build(asked, faults.NONE, "chatcmpl-1", 1)


def test_a_stream_says_what_the_whole_says():
    reply = completed(stream_options={"include_usage": True}, n=2, echo=True)
    frames = [frame[6:].strip() for frame in reply.frames()]
    assert frames.pop() == b"[DONE]"
    chunks = [json.loads(frame) for frame in frames]
    assert chunks.pop()["usage"] == json.loads(reply.body())["usage"]
    said = ["".join(one["choices"][0]["text"] for one in chunks if one["choices"][0]["index"] == at) for at in (0, 1)]
    assert said == [choice["text"] for choice in json.loads(reply.body())["choices"]]


def test_what_best_of_leaves_out_is_counted():
    assert completed(best_of=4).units == {"input": 1, "output": 12}
    assert len(completed(prompt=["a", "b"], n=2).choices) == 4
    with pytest.raises(Refused):
        completed(prompt=[])
    with pytest.raises(Refused):
        completed(n=3, best_of=2)


def test_speech_is_counted_by_characters_or_by_tokens():
    asked = {"model": "tts-1", "input": "Grüße", "voice": "alloy"}
    assert sounds.speak(asked).units == {"character": 5}
    assert sounds.speak({**asked, "model": "gpt-4o-mini-tts"}).units == {"input": 2, "audio_output": 20}
    for broken in ({"voice": None}, {"input": ""}, {"stream_format": "sse"}, {"response_format": "midi"}):
        with pytest.raises(Refused):
            sounds.speak({**asked, **broken})


@pytest.mark.parametrize("form", sounds.FORMS)
def test_transcripts_have_their_formats(form):
    heard = sounds.hear({"model": "whisper-1", "file": RECORDING, "response_format": form})
    assert heard.units == {"audio_second": 3}
    assert heard.text in heard.body().decode()
    # Newer models know one format.
    if form != "json":
        with pytest.raises(Refused):
            sounds.hear({"model": "gpt-4o-transcribe", "file": RECORDING, "response_format": form})


def test_the_last_event_of_a_transcript_says_the_usage():
    heard = sounds.hear({"model": "gpt-4o-transcribe", "file": RECORDING})
    events = [json.loads(event[6:]) for event in heard.events()]
    assert "".join(event.get("delta", "") for event in events).strip() == events[-1]["text"] == heard.text
    assert events[-1]["usage"]["input_token_details"] == {"text_tokens": 0, "audio_tokens": 25}
    with pytest.raises(Refused):
        sounds.hear({"model": "whisper-1", "file": "text"})


def test_rerank_has_the_shape_of_the_models_maker():
    asked = {"query": "toll gate", "documents": ["sea", "a toll gate"] * 60, "top_n": 1}
    cohere, searched = judgements.rank({**asked, "model": "rerank-v3.5"}, "chatcmpl-1")
    assert (searched, cohere["meta"]["billed_units"]) == ({"search": 2}, {"search_units": 2})
    jina, counted = judgements.rank({**asked, "model": "jina-reranker"}, "chatcmpl-1")
    assert counted == {"input": jina["usage"]["total_tokens"]}
    assert jina["results"] == [{"index": 1, "relevance_score": 1.0, "document": {"text": "a toll gate"}}]
    with pytest.raises(Refused):
        judgements.rank({**asked, "model": "m", "documents": []}, "")


def test_moderations_flag_what_is_named():
    reply, units = judgements.moderate({"model": "m", "input": ["fine", "violence"]}, "chatcmpl-1")
    assert [one["flagged"] for one in reply["results"]] == [False, True]
    assert units == {"request": 1}


def test_forms_hold_texts_and_files():
    body = (
        b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n'
        b'--b\r\ncontent-disposition: form-data; name="image[]"; filename="a"\r\n\r\n\x00\xff\r\n--b--\r\n'
    )
    assert forms.read(body, b"multipart/form-data; boundary=b") == {"model": "m", "image": [b"\x00\xff"]}
    for broken in (
        (b"{}", b"application/json"),
        (b"", b"multipart/form-data; boundary=b"),
        (body, b"multipart/form-data"),
    ):
        with pytest.raises(Refused):
            forms.read(*broken)


def test_pictures_decide_what_is_drawn_of_them():
    asked = {"model": "gpt-image-1", "prompt": "x", "image": [PNG + b"1", PNG + b"2"], "n": "1"}
    reply, units = operations.images(operations.seen(asked, variation=False), 1, "")
    other, _ = operations.images(operations.seen({**asked, "image": PNG + b"3"}, variation=False), 1, "")
    assert reply["data"] != other["data"]
    assert units["image_input"] == 640
    varied = {"model": "dall-e-2", "image": PNG}
    assert operations.images(operations.seen(varied, variation=True), 1, "")[1] == {"images": 1}
    for broken in ({"image": b"text"}, {"prompt": "x"}, {"model": "gpt-image-1"}):
        with pytest.raises(Refused):
            operations.seen({**varied, **broken}, variation=True)


def test_gemini_embeds_one_or_many():
    one = {"model": "models/m", "content": {"parts": [{"text": "abcde"}]}, "outputDimensionality": 3}
    reply, units = gemini.embed(one, "m", batch=False)
    assert (len(reply["embedding"]["values"]), units) == (3, {"input": 2})
    batch, units = gemini.embed({"requests": [one, one]}, "m", batch=True)
    assert (batch["embeddings"], units) == ([reply["embedding"]] * 2, {"input": 4})
    for broken in ({**one, "model": "models/other"}, {**one, "content": {"parts": []}}, {**one, "more": 1}):
        with pytest.raises(Refused):
            gemini.embed(broken, "m", batch=False)


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        ({"contents": [[None]]}, "contents[0]"),
        ({"contents": [{"parts": "x"}]}, "contents[0].parts"),
        ({"contents": [{"parts": [None]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": 3}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"functionCall": {}}]}]}, "contents[0].parts[0].functionCall.name"),
        ({"systemInstruction": "x"}, "systemInstruction"),
        ({"requests": [{"content": {"parts": [1]}}]}, "requests[0].content.parts[0]"),
        ({"requests": "x"}, "requests"),
        ({"content": {"parts": [None]}}, "content.parts[0]"),
    ],
)
def test_gemini_refuses_a_value_of_another_type_by_its_place(request_, where):
    with pytest.raises(Refused, match=f"'{re.escape(where)}'"):
        gemini.check_shape(request_)


def test_gemini_takes_what_is_typed_as_its_messages_are():
    call = {"functionCall": {"name": "f", "args": {}}}
    gemini.check_shape({"contents": [{"role": "user", "parts": [{"text": "a"}, call]}], "systemInstruction": None})
