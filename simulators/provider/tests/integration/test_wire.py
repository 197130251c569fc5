"""The simulator as a process: raw sockets, httpx and the openai package."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing

import httpx
import openai
import pytest

pytestmark = pytest.mark.integration


class Process:
    def __init__(self, *arguments):
        reader, writer = os.pipe()
        self.supervisor, held = os.pipe()[::-1]
        command = [sys.executable, "-m", "tollgate_simulator_provider", "--port", "0", "--ready-fd", str(writer)]
        command += ["--supervisor-fd", str(held), *arguments]
        self.child = subprocess.Popen(command, pass_fds=(writer, held), stderr=subprocess.PIPE)
        os.close(writer)
        os.close(held)
        with os.fdopen(reader, "rb") as ready:
            self.port = json.loads(ready.readline())["port"]
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(60)
        errors = self.child.stderr.read()
        self.child.stderr.close()
        os.close(self.supervisor)
        return code, errors


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    process = Process("--ledger", str(tmp_path_factory.mktemp("ledger") / "ledger.jsonl"))
    yield process
    assert process.stop() == (0, b"")


@pytest.fixture
def http(simulator):
    with httpx.Client(base_url=simulator.url, timeout=60) as client:
        yield client


@pytest.fixture
def sdk(simulator):
    with openai.OpenAI(base_url=simulator.url + "/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def chat(text, **more):
    return {"model": "gpt-5.1", "messages": [{"role": "user", "content": text}], **more}


def last_entry(http):
    return http.get("/_ledger").json()["items"][-1]


def test_openai_package(sdk):
    question = chat("Hello")
    reply = sdk.chat.completions.create(**question)
    with sdk.chat.completions.stream(**question, stream_options={"include_usage": True}) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_completion()
    assert streamed.choices[0].message.content == reply.choices[0].message.content
    assert streamed.usage.model_dump() == reply.usage.model_dump()
    vector = sdk.embeddings.create(model="text-embedding-3-small", input="hi").data[0].embedding
    numbers = sdk.embeddings.create(model="text-embedding-3-small", input="hi", encoding_format="float")
    assert len(vector) == 1536
    assert vector == pytest.approx(numbers.data[0].embedding, abs=1e-7)
    assert sdk.images.generate(model="gpt-image-1", prompt="cat", size="64x64").data[0].b64_json
    assert "gpt-5.1" in [model.id for model in sdk.models.list()]


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, openai.BadRequestError), (429, openai.RateLimitError), (503, openai.InternalServerError)],
)
def test_asked_for_status(sdk, status, error):
    with pytest.raises(error) as raised:
        sdk.chat.completions.create(**chat(f"[[sim:status={status},code=planted,retry_after=1]]"))
    assert raised.value.code == "planted"
    assert raised.value.response.headers["retry-after"] == "1"


def test_picture_by_address(http):
    reply = http.post("/v1/images/generations", json={"model": "dall-e-3", "prompt": "cat", "size": "32x32"}).json()
    picture = http.get(reply["data"][0]["url"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")


def test_ledger_knows_the_request(http):
    before = http.get("/_ledger").json()["next"]
    headers = {"x-request-id": "mine", "traceparent": "00-1-2-01"}
    reply = http.post("/chat/completions", json=chat("Hello"), headers=headers).json()
    page = http.get("/_ledger", params={"since": before}).json()
    (entry,) = page["items"]
    assert (entry["x_request_id"], entry["traceparent"], entry["id"]) == ("mine", "00-1-2-01", reply["id"])
    assert entry["units"] == {"input": reply["usage"]["prompt_tokens"], "output": reply["usage"]["completion_tokens"]}
    assert entry["outcome"] == "completed"
    assert http.get("/_ledger", params={"since": page["next"]}).json()["items"] == []


def raw(port, body, fault="", close_after=None):
    """Returns all that comes until the server closes; or closes after so many bytes."""
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-sim-fault: {fault}\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", port), 60)) as connection:
        connection.sendall(head.encode() + data)
        got = b""
        while (close_after is None or len(got) < close_after) and (more := connection.recv(65536)):
            got += more
        return got


def test_cut_stream(simulator, http):
    got = raw(simulator.port, chat("x", stream=True), "cut=3")
    assert got.count(b"data: ") == 3
    assert not got.endswith(b"0\r\n\r\n")
    assert (last_entry(http)["outcome"], last_entry(http)["chunks"]) == ("cut", 3)


def test_cut_reply_and_lying_length(simulator, http):
    head, _, body = raw(simulator.port, chat("x"), "cut=5").partition(b"\r\n\r\n")
    assert len(body) == 5
    head, _, body = raw(simulator.port, chat("x"), "short-length").partition(b"\r\n\r\n")
    assert f"content-length: {len(body) + 7}".encode() in head.lower()
    assert raw(simulator.port, chat("x"), "drop") == b""
    assert last_entry(http)["outcome"] == "cut"


def test_malformed_html_error_in_the_middle_and_no_done(http):
    def text(fault, **more):
        return http.post("/v1/chat/completions", json=chat("x", **more), headers={"x-sim-fault": fault})

    with pytest.raises(ValueError, match=r"."):
        text("malformed").json()
    frames = text("malformed", stream=True).text.split("\n\n")
    assert json.loads(frames[1][6:])
    with pytest.raises(ValueError, match=r"."):
        json.loads(frames[2][6:])
    page = text("html,status=502")
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert "[DONE]" not in text("no-done", stream=True).text
    assert text("unheard-of").json()["error"]["code"] == "unknown_fault"
    with pytest.raises(httpx.RemoteProtocolError):
        text("mid-error=2", stream=True)


def test_waits_are_in_the_ledger_and_end_when_the_client_goes(simulator, http):
    got = raw(simulator.port, chat("x", stream=True), "stall=2", close_after=300)
    assert got.count(b"data: ") >= 1
    number = last_entry(http)["seq"]
    while last_entry(http)["outcome"] == "open":
        pass
    entry = last_entry(http)
    assert (entry["seq"], entry["outcome"], entry["chunks"]) == (number, "client_gone", 2)
    raw_head = raw(simulator.port, chat("x"), "delay=600", close_after=20)
    assert raw_head.startswith(b"HTTP/1.1 200")


def test_paced_stream(http):
    reply = http.post(
        "/v1/chat/completions", json=chat("[[sim:chunks=9,gap_ms=1,delay=0.01,slow-headers=0.01]]", stream=True)
    )
    assert reply.text.count('"content":') == 9 + 1
    assert last_entry(http)["outcome"] == "completed"


def test_a_stream_that_is_held_goes_on_when_it_is_released(http):
    with http.stream("POST", "/v1/chat/completions", json=chat("Hello [[sim:chunks=5,hold=3]]", stream=True)) as reply:
        lines = (line for line in reply.iter_lines() if line)
        before = [next(lines) for _ in range(3)]
        assert last_entry(http)["outcome"] == "open"
        assert http.post("/_release").json() == {"released": True}
        rest = list(lines)
    assert rest[-1] == "data: [DONE]"
    assert len([line for line in before + rest if '"content":' in line and '"content":""' not in line]) == 5
    assert last_entry(http)["outcome"] == "completed"


def test_a_whole_reply_that_is_held_goes_on_when_it_is_released(http):
    with http.stream("POST", "/v1/chat/completions", json=chat("Hello [[sim:hold=20]]")) as reply:
        pieces = reply.iter_raw()
        before = next(pieces)
        assert len(before) == 20
        http.post("/_release")
        assert json.loads(before + b"".join(pieces))["choices"]


def test_who_leaves_a_reply_that_is_held_is_noticed(simulator, http):
    assert raw(simulator.port, chat("x", stream=True), "hold=2", close_after=300).count(b"data: ") >= 1
    while last_entry(http)["outcome"] == "open":
        pass
    assert (last_entry(http)["outcome"], last_entry(http)["chunks"]) == ("client_gone", 2)


def test_queued_faults(http):
    assert http.post("/_faults", json={"faults": "status=503", "count": 2}).json() == {"queued": 2}
    statuses = [http.post("/v1/chat/completions", json=chat("x")).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]
    http.post("/_faults", json={"faults": "status=503", "count": 5})
    assert http.post("/_faults", json={"count": 0}).json() == {"queued": 0}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/chat/completions", b'{"messages": []}', 400),
        ("POST", "/v1/chat/completions", b'{"model": 7}', 400),
        ("POST", "/v1/chat/completions", b"[" * 100_000, 400),
        ("GET", "/v1/chat/completions", b"", 405),
        ("GET", "/v1/nowhere", b"", 404),
        ("GET", "/_ledger?since=x", b"", 400),
    ],
)
def test_bad_requests(http, method, path, body, status):
    reply = http.request(method, path, content=body)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


def test_demands_its_key_and_ends_with_its_supervisor():
    process = Process("--api-key", "right")
    try:
        with httpx.Client(base_url=process.url, timeout=60) as client:
            for key, status in (("wrong", 401), ("right", 200)):
                headers = {"authorization": f"Bearer {key}"}
                assert client.post("/v1/chat/completions", json=chat("x"), headers=headers).status_code == status
        os.close(process.supervisor)
        process.supervisor = os.open(os.devnull, os.O_RDONLY)
        assert process.child.wait(60) == 0
    finally:
        process.stop()


@pytest.mark.parametrize(
    ("path", "kind", "status", "words"),
    [
        ("/v1/chat/completions", "context_length", 400, "maximum context length"),
        ("/anthropic/v1/messages", "context_length", 400, "prompt is too long"),
        ("/gemini/v1beta/models/m:generateContent", "rate_limit", 429, "GenerateContentInputTokensPerModelPerMinute"),
        ("/gemini/v1beta/models/m:generateContent", "nothing", 400, "no refusal"),
    ],
)
def test_vendors_refuse_as_they_were_seen_to(http, path, kind, status, words):
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    if "gemini" in path:
        body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    reply = http.post(path, json=body, headers={"x-sim-fault": f"refuse={kind}"})
    assert (reply.status_code, words in reply.text) == (status, True), reply.text
