"""The endpoints beside chat at the door: forms on their way to a router, bytes on theirs back, and what is refused."""

import json

import pytest
from services.edge.tests.fakes.door import error_of
from services.edge.tests.fakes.inference import KEY, MODEL

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire

pytestmark = pytest.mark.integration

FORM = "multipart/form-data; boundary=b"
SMALL = bytes(range(256)) * 4
LARGE = bytes(range(256)) * 4096


def post(path, body, content_type="application/json"):
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {len(body)}\r\n"
    kind = f"content-type: {content_type}\r\n" if content_type else ""
    return f"{head}{kind}\r\n".encode() + body


def form(file=SMALL, model=b"hears", end=b"\r\n--b--\r\n"):
    return (
        b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n'
        + model
        + b'\r\n--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        + file
        + end
    )


async def whole(bench, opened):
    """Returns the body of a request as a router gathers it."""
    body = opened.body
    while len(body) < opened.body_length:
        if not bench.stream.bodies:
            bench.stream.changed.clear()
            await bench.stream.changed.wait()
            continue
        _, part = bench.stream.bodies.pop(0)
        body += part
        bench.stream.pending[opened.id].credit(len(part))
    return body


@pytest.mark.parametrize("file", [SMALL, LARGE])
@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/audio/translations"])
async def test_a_form_reaches_a_router_as_it_came(bench, path, file):
    client = await bench.client()
    client.send(post(path, form(file), FORM))
    opened = await bench.stream.next()
    assert opened.model == "hears"
    assert await whole(bench, opened) == form(file)
    assert [(one.name, one.value) for one in opened.headers] == [
        (b"content-type", b'multipart/form-data; boundary="b"')
    ]
    # At 8 kbit/s, and 0.001 a second.
    assert bench.admission.amounts == [(len(file) // 1000 + 1) * 10**9]
    bench.stream.reply(opened.id, b'{"text":"a"}')
    assert (await client.reply())[2] == b'{"text":"a"}'


async def test_sound_leaves_as_it_comes_under_its_own_type(bench):
    client = await bench.client()
    client.send(post("/v1/audio/speech", json.dumps({"model": "speaks", "input": "Grüße", "voice": "v"}).encode()))
    opened = await bench.stream.next()
    assert (opened.operation, opened.stream) == (wire.OPERATION_SPEECH, False)
    assert bench.admission.amounts == [5 * 10**6]
    bench.stream.head(opened.id, b"audio/mpeg")
    bench.stream.data(opened.id, b"first")
    head = await client.until(b"first")
    assert b"content-type: audio/mpeg\r\n" in head
    bench.stream.data(opened.id, b"second")
    bench.stream.end(opened.id)
    assert b"second" in await client.until(b"\r\n0\r\n\r\n")


async def test_sound_that_breaks_off_ends_without_its_end(bench):
    client = await bench.client()
    client.send(post("/v1/audio/speech", json.dumps({"model": "speaks", "input": "x", "voice": "v"}).encode()))
    opened = await bench.stream.next()
    bench.stream.head(opened.id, b"audio/mpeg")
    bench.stream.data(opened.id, b"first")
    bench.stream.end(opened.id, error=errors.ERROR_KIND_UPSTREAM_CUT)
    assert not (await client.rest()).endswith(b"0\r\n\r\n")


async def test_a_client_that_leaves_ends_the_call(bench):
    client = await bench.client()
    client.send(post("/v1/audio/speech", json.dumps({"model": "speaks", "input": "x", "voice": "v"}).encode()))
    opened = await bench.stream.next()
    bench.stream.head(opened.id, b"audio/mpeg")
    bench.stream.data(opened.id, b"first")
    await client.until(b"first")
    bench.stream.changed.clear()
    client.writer.close()
    await bench.stream.changed.wait()
    assert bench.stream.cancels == [(opened.id, wire.CANCEL_REASON_CLIENT_GONE)]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "code", "param"),
    [
        ("/v1/audio/transcriptions", b'{"model":"hears"}', "application/json", 415, "unsupported_media_type", None),
        ("/v1/audio/transcriptions", form(), "", 415, "unsupported_media_type", None),
        ("/v1/audio/speech", form(), FORM, 415, "unsupported_media_type", None),
        ("/v1/audio/transcriptions", form(), "multipart/form-data", 400, "invalid_request", None),
        ("/v1/audio/transcriptions", form(end=b""), FORM, 400, "invalid_request", None),
        ("/v1/audio/transcriptions", form(model=b""), FORM, 400, "invalid_request", "model"),
        ("/v1/audio/transcriptions", form(file=b""), FORM, 400, "invalid_request", "file"),
        ("/v1/audio/transcriptions", form(model=b"nobody"), FORM, 404, "model_not_found", "model"),
        ("/v1/audio/transcriptions", form(model=MODEL.encode()), FORM, 400, "invalid_request", "model"),
        ("/v1/audio/speech", b'{"model":"speaks"}', "application/json", 400, "invalid_request", "input"),
        ("/v1/completions", b'{"model":"vectors","prompt":"x"}', "application/json", 400, "invalid_request", "model"),
        ("/v1/moderations", b"{", "application/json", 400, "invalid_request", None),
        ("/v2/rerank", b'{"model":"ranks","query":"q"}', "application/json", 400, "invalid_request", "documents"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_held(bench, path, body, kind, status, code, param):
    client = await bench.client()
    client.send(post(path, body, kind))
    found, _, said = await client.reply()
    error = json.loads(said)["error"]
    assert (found, error["code"], error["param"]) == (status, code, param)
    assert bench.admission.held == []


async def test_too_large_a_form_is_413_before_it_is_read(bench):
    client = await bench.client()
    size = bench.settings.max_body_bytes + 1
    client.send(post("/v1/audio/transcriptions", b"", FORM).replace(b"content-length: 0", b"content-length: %d" % size))
    status, _, body = await client.reply()
    assert (status, error_of(body)["code"]) == (413, "payload_too_large")


async def test_errors_of_rerank_are_read_by_the_clients_of_each_maker(bench):
    client = await bench.client()
    client.send(post("/v2/rerank", b'{"model":"nobody","query":"q","documents":["d"]}'))
    status, _, body = await client.reply()
    found = json.loads(body)
    assert status == 404
    assert found["message"] == found["detail"] == found["error"]["message"]
    assert found["id"].startswith("req_")
