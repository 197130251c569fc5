"""Operations beside chat and embeddings: what is sent, and what replies say that they used."""

import json
import struct

import pytest

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.endpoints.form import Form
from tollgate_router.domain.endpoints.reading import (
    read_moderation,
    read_ranking,
    read_transcript,
    sound_usage,
    speech_estimate,
)
from tollgate_router.domain.endpoints.sound_length import seconds_of
from tollgate_router.domain.endpoints.streams import Events, SoundBytes
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.target import Origin, Target
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.domain.usage import ReplyUsage
from tollgate_router.errors import InvalidBody, Refused

ESTIMATE = ReplyUsage({"audio_second": 3}, estimated=True)
DELTA = b'data: {"type":"transcript.text.delta","delta":"a"}\n\n'
DONE = b'data: {"type":"transcript.text.done","text":"a","usage":{"type":"duration","seconds":2}}\n\n'


TOKENS = (
    b'{"text":"a","usage":{"type":"tokens","input_tokens":12,"output_tokens":4,'
    b'"input_token_details":{"audio_tokens":10,"text_tokens":2}}}'
)


def target(**more):
    return Target("a", 0, "p", Origin("https", "h", 443), "/v1", "theirs", True, 1, b"", **more)


def opened(operation, **more):
    return wire.Open(dialect=wire.DIALECT_OPENAI_CHAT, operation=operation, model="public", **more)


def units_of(found):
    assert not isinstance(found, UpstreamProblem)
    usage, _ = found
    return [(dict(one.units), one.estimated) for one in (usage, *usage.others)]


def body_of(asked):
    return asked.body if isinstance(asked.body, bytes) else b"".join(bytes(part) for part in asked.body)


@pytest.mark.parametrize(
    ("operation", "path", "body"),
    [
        (wire.OPERATION_COMPLETION, b"/completions", {"prompt": ["a"], "echo": True, "suffix": "z"}),
        (wire.OPERATION_MODERATION, b"/moderations", {"input": "x"}),
        (wire.OPERATION_RERANK, b"/rerank", {"query": "q", "documents": [{"text": "d"}], "top_n": 1}),
        (wire.OPERATION_SPEECH, b"/audio/speech", {"input": "x", "voice": {"id": "v"}, "speed": 1.5}),
    ],
)
def test_a_body_passes_but_for_the_models_name(operation, path, body):
    raw = json.dumps({"model": "public", **body}).encode()
    asked = sending(opened(operation), read_body(raw), target(), raw)
    assert asked.path == path
    assert json.loads(body_of(asked)) == {**body, "model": "theirs"}


def test_a_form_passes_but_for_the_models_name():
    before, after = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n', b"\r\n--b\r\n"
    after += b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(range(256)) + b"\r\n--b--\r\n"
    form = Form(before + b"public" + after, b"multipart/form-data; boundary=b")
    asked = sending(opened(wire.OPERATION_TRANSLATION), form, target(), b"")
    assert asked.path == b"/audio/translations"
    assert body_of(asked) == before + b"theirs" + after
    assert asked.content_type == b'multipart/form-data; boundary="b"'
    assert bytes(form.file()) == bytes(range(256))
    with pytest.raises(InvalidBody):
        Form(before, b"multipart/form-data; boundary=b")


def test_other_wires_serve_none_of_them():
    with pytest.raises(Refused, match="does not serve moderations"):
        sending(opened(wire.OPERATION_MODERATION), {}, target(wire=wire.DIALECT_ANTHROPIC), b"{}")
    with pytest.raises(Refused, match="does not serve rerank"):
        sending(opened(wire.OPERATION_RERANK), {}, target(operations=frozenset({wire.OPERATION_CHAT})), b"{}")


@pytest.mark.parametrize(
    ("reply", "units"),
    [
        ({"meta": {"billed_units": {"search_units": 2}}}, [({"search": 2}, False), ({"input": None}, True)]),
        ({"usage": {"total_tokens": 9}}, [({"input": 9}, False), ({"search": 1}, True)]),
        ({"meta": {"tokens": {"input_tokens": 9.0}}}, [({"input": 9}, False), ({"search": 1}, True)]),
        (
            {"meta": {"billed_units": {"search_units": 1, "input_tokens": 7}}},
            [({"search": 1}, False), ({"input": 7}, False)],
        ),
        ({}, [({"search": 1}, True), ({"input": None}, True)]),
    ],
)
def test_rankings_are_metered_as_cohere_jina_and_siliconflow_do(reply, units):
    found = units_of(read_ranking(json.dumps({"results": [], **reply}).encode()))
    for (used, estimated), (wanted, guessed) in zip(found, units, strict=True):
        assert (*used,) == (*wanted,)
        assert estimated is guessed
        # What follows from a size only is more than nothing.
        assert all(count == wanted[name] or (wanted[name] is None and count > 0) for name, count in used.items())


def test_moderations_are_a_request_or_tokens():
    assert units_of(read_moderation(b'{"results":[]}')) == [({"request": 1}, False)]
    told = units_of(read_moderation(b'{"results":[],"usage":{"prompt_tokens":5}}'))
    assert told == [({"input": 5, "request": 1}, False), ({"request": 1}, False)]


@pytest.mark.parametrize(
    ("body", "form", "units", "estimated"),
    [
        (b'{"text":"a","usage":{"type":"duration","seconds":7.2}}', "", {"audio_second": 8}, False),
        (b'{"text":"a","duration":7.2}', "verbose_json", {"audio_second": 8}, False),
        (b'{"text":"a","duration":"7.2"}', "verbose_json", {"audio_second": 3}, True),
        (b'{"text":"a"}', "json", {"audio_second": 3}, True),
        (b"a\n", "text", {"audio_second": 3}, True),
        (b"1\n00:00:01,000 --> 00:01:02,500\na\n\n", "srt", {"audio_second": 63}, True),
        (b"WEBVTT\n\n00:01.000 --> 01:02.000\na\n\n", "vtt", {"audio_second": 62}, True),
        (
            TOKENS,
            "json",
            {"input": 2, "audio_input": 10, "output": 4},
            False,
        ),
    ],
)
def test_transcripts_are_metered_by_their_words_else_by_the_file(body, form, units, estimated):
    first = units_of(read_transcript(body, 3, form))[0]
    assert first == (units, estimated)


@pytest.mark.parametrize("read", [read_ranking, read_moderation, lambda body: read_transcript(body, 3, "json")])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"results":7,"text":7}', b'{"results":', b"\xff"])
def test_what_is_no_reply_is_a_problem(read, body):
    found = read(body)
    assert isinstance(found, UpstreamProblem)
    assert found.kind == errors.ERROR_KIND_UPSTREAM_PROTOCOL


def test_an_error_with_status_200_is_one():
    for read in (read_ranking, read_moderation):
        found = read(b'{"error":{"message":"maximum context length"}}')
        assert isinstance(found, UpstreamProblem)
        assert found.kind == errors.ERROR_KIND_CONTEXT_LENGTH


@pytest.mark.parametrize(
    "raw", [b"null", b"{}", b"[]", b'{"seconds":-1}', b'{"input_tokens":"7"}', b'{"seconds":1e99}']
)
def test_usage_of_sound_that_cannot_be_true_is_none(raw):
    assert sound_usage(raw) is None


def test_speech_is_estimated_by_its_characters():
    usage = speech_estimate("世界" * 15)
    assert (dict(usage.units), usage.estimated) == ({"character": 30}, False)
    assert [dict(one.units) for one in usage.others] == [{"input": 23, "audio_output": 60}, {"audio_second": 3}]


def test_sound_passes_as_it_comes():
    found = SoundBytes(ESTIMATE)
    assert found.typed(b"audio/mpeg") == b"audio/mpeg"
    assert [found.feed(b"a"), found.feed(b"b"), found.finish()] == [b"a", b"b", b""]
    assert found.complete
    assert found.usage is ESTIMATE


@pytest.mark.parametrize("kind", [b"application/json", b"text/html; charset=utf-8"])
def test_what_is_no_sound_reaches_nobody(kind):
    found = SoundBytes(ESTIMATE)
    found.typed(kind)
    assert found.feed(b'{"error":{"message":"maximum context length"}}') == b""
    assert found.finish() == b""
    assert not found.complete
    assert found.problem is not None


def test_no_sound_at_all_is_a_problem():
    found = SoundBytes(ESTIMATE)
    found.typed(b"audio/mpeg")
    found.finish()
    assert found.problem is not None


@pytest.mark.parametrize("cut", range(1, len(DELTA + DONE)))
def test_events_pass_however_they_are_cut(cut):
    whole = DELTA + DONE
    found = Events(ESTIMATE)
    found.typed(b"text/event-stream")
    assert found.feed(whole[:cut]) + found.feed(whole[cut:]) + found.finish() == whole
    assert found.complete
    assert found.usage is not None
    assert dict(found.usage.units) == {"audio_second": 2}


def test_events_that_break_off_are_not_whole_and_are_estimated():
    found = Events(ESTIMATE)
    found.typed(b"text/event-stream")
    assert found.feed(DELTA + DONE[:20]) == DELTA
    assert found.finish() == b""
    assert not found.complete
    assert found.usage is ESTIMATE


def test_an_error_among_events_ends_them():
    found = Events(ESTIMATE)
    found.typed(b"text/event-stream")
    assert found.feed(DELTA + b'data: {"error":{"message":"busy","code":503}}\n\n') == b""
    assert found.problem is not None


def test_a_whole_transcript_becomes_events():
    found = Events(ESTIMATE)
    assert found.typed(b"application/json").startswith(b"text/event-stream")
    assert found.feed(b'{"text":"a b","usage":{"type":"duration","seconds":2}}') == b""
    events = [json.loads(line[6:]) for line in found.finish().split(b"\n\n") if line]
    assert [event["type"] for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[1]["usage"] == {"type": "duration", "seconds": 2}
    assert found.complete


def test_tokens_of_spoken_events_are_sound():
    found = Events(ESTIMATE, spoken=True)
    found.typed(b"text/event-stream")
    found.feed(b'data: {"type":"speech.audio.done","usage":{"input_tokens":3,"output_tokens":40}}\n\n')
    assert found.usage is not None
    assert dict(found.usage.units) == {"input": 3, "audio_output": 40}


WAV = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 1, 1000, 1000, 1, 8)
FLAC = b"fLaC" + bytes(14) + struct.pack(">Q", 44_100 << 44 | 44_100 * 9)
OGG = b"OggS" + bytes(24) + b"OpusHead" + bytes(200) + b"OggS\x00\x04" + struct.pack("<q", 48_000 * 9) + bytes(20)
MVHD = struct.pack(">I4sIIIII", 28, b"mvhd", 0, 0, 0, 600, 5400)
MP4 = struct.pack(">I4s8x", 16, b"ftyp") + struct.pack(">I4s", 36, b"moov") + MVHD
MP3 = b"ID3\x04\x00\x00\x00\x00\x00\x05hello" + b"\xff\xfb\x90\x64" + bytes(9 * 16_000 - 4)


@pytest.mark.parametrize(
    ("file", "seconds"),
    [
        (WAV + struct.pack("<4sI", b"LIST", 3) + b"abc\x00" + struct.pack("<4sI", b"data", 8500) + bytes(8500), 9),
        # A recorder that streams leaves the size open.
        (WAV + struct.pack("<4sI", b"data", 0xFFFFFFFF) + bytes(8500), 9),
        (FLAC, 9),
        (OGG, 9),
        (MP4, 9),
        (MP3, 9),
        (bytes(9 * 16_000), 9),
        (b"x", 1),
        (b"", 1),
        (WAV, 1),
        (b"fLaC", 1),
        (b"OggS", 1),
        (b"\x00\x00\x00\x00ftyp", 1),
        (b"\xff", 1),
    ],
)
def test_the_length_of_sound(file, seconds):
    assert seconds_of(memoryview(file)) == seconds
