"""Callers of a running product, whole requests and raw bytes, and what is expected of what they get."""

import contextlib
import http.client
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
from tests.integration.faulty import SECRET_HOST

MODEL = "gpt-5-mini"
INSIDE = re.compile(
    r"127\.0\.0\.1|localhost|Traceback|\.py\b|tollgate_|/tmp|/work|errno|sqlite|\bgrpc|Exception|10\.1\.2\.3|sk-abc",
    re.IGNORECASE,
)
# An error's link to what to do, at the address that the caller used.
_LINK = re.compile(r'"(?:doc_url|url)": "http://[\w.:]+/docs/errors#\w+"')


def wait_settled(product):
    def settled():
        found = product.balance()
        return (int(found["held_pico"]), int(found["settled_unbooked_pico"])) == (0, 0) and (
            found["wallet_pico"] == found["ledger_pico"]
        )

    product.wait(settled, "every hold to be returned")


def body_of(content="hi", model=MODEL, **more):
    return {"model": model, "messages": [{"role": "user", "content": content}], **more}


def chat(product, content="hi", model=MODEL, **more):
    return post(product, json=body_of(content, model, **more))


def post(product, *, path="/chat/completions", key=None, **options):
    headers = {"authorization": f"Bearer {key or product.api_key}", **options.pop("headers", {})}
    return httpx.post(f"{product.base_url}{path}", headers=headers, timeout=120, trust_env=False, **options)


def streamed(product, content, model, begun):
    """Asks for a stream, calls `begun` when its beginning is there, and returns the whole reply."""
    headers = {"authorization": f"Bearer {product.api_key}"}
    with (
        httpx.Client(headers=headers, timeout=120, trust_env=False) as client,
        client.stream(
            "POST", f"{product.base_url}/chat/completions", json=body_of(content, model, stream=True)
        ) as reply,
    ):
        pieces = reply.iter_raw()
        whole = next(pieces, b"")
        begun()
        whole += b"".join(pieces)
        return httpx.Response(reply.status_code, headers=reply.headers, content=whole)


def request(product, method, path, key=None, **options):
    """A request to a path with or without /v1; a GET has no body."""
    if method == "GET":
        options = {}
    headers = {"authorization": f"Bearer {key or product.api_key}"}
    return httpx.request(method, f"{product.url}{path}", headers=headers, timeout=120, trust_env=False, **options)


def at_once(call, names):
    """Returns name → what `call(name)` returned; all wait at the same time."""
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(call, names), strict=True))


@contextlib.contextmanager
def raw(product):
    """A connection that writes bytes."""
    with socket.create_connection(("127.0.0.1", httpx.URL(product.base_url).port), timeout=120) as connection:
        yield connection


def head_of(product, *lines, method="POST", path="/v1/chat/completions"):
    told = [f"{method} {path} HTTP/1.1", "Host: t", f"Authorization: Bearer {product.api_key}", *lines]
    return "\r\n".join([*told, "", ""]).encode()


def reply_on(connection, method="POST"):
    """Returns (status, headers, body) of the next reply."""
    reply = http.client.HTTPResponse(connection, method=method)
    reply.begin()
    return reply.status, dict(reply.getheaders()), reply.read()


def sent(product, data):
    """Sends bytes on a new connection and returns the reply; the server closes, or we do."""
    with raw(product) as connection:
        connection.sendall(data)
        return reply_on(connection)


def check_error(status, headers, body, expected_status, code):
    """The error is in OpenAI's shape, names its request, and tells nothing of the inside."""
    text = body.decode()
    assert status == expected_status, text
    found = json.loads(text)
    assert set(found) == {"error"}
    error = found["error"]
    assert set(error) == {"message", "type", "param", "code", "doc_url"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["code"] == code
    check_no_detail(text)
    headers = {name.lower(): value for name, value in headers.items()}
    assert headers["content-type"] == "application/json"
    return headers["x-request-id"], error


def check_no_detail(text):
    text = _LINK.sub("", text)
    assert not (found := INSIDE.search(text)), f"{found} in {text}"
    assert SECRET_HOST not in text


def check_reply(reply, status, code):
    return check_error(reply.status_code, reply.headers, reply.content, status, code)


def row_of(product, request_id):
    """Returns the only usage row of a request, once it is there."""
    (row,) = rows_of(product, request_id, 1)
    return row


def rows_of(product, request_id, count):
    """Returns the usage rows of a request in the order of its attempts, once there are so many."""
    found = []

    def there():
        found[:] = product.requests(request_id=request_id)
        return len(found) >= count

    product.wait(there, f"{count} usage rows of {request_id}")
    return sorted(found, key=lambda row: row["attempt"])


@contextlib.contextmanager
def nothing_billed(product):
    """Neither row nor charge comes of what happens inside, seen once a later request has been booked."""
    # A row can be found a moment before its charge is booked.
    wait_settled(product)
    requests, before = product.usage()["requests"], product.balance()
    yield
    row = row_of(product, chat(product).headers["x-request-id"])
    wait_settled(product)
    assert product.usage()["requests"] == requests + 1
    assert int(before["ledger_pico"]) - int(product.balance()["ledger_pico"]) == int(row["charge_pico"])
