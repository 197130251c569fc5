"""What tests of the door share."""

import json

from services.edge.tests.fakes.inference import eventually

SSE = b"text/event-stream; charset=utf-8"
CHUNK = b'data: {"choices":[]}\n\n'


async def clean(bench):
    """Nothing of a test may stay behind: no open request, no body in memory, no connection."""
    await bench.close_clients()
    await eventually(lambda: not bench.gateway.doors)
    assert not bench.gateway.open
    assert bench.gateway.body_bytes == 0


def error_of(body):
    """Returns the error of a reply, which has exactly OpenAI's fields."""
    found = json.loads(body)
    assert set(found) == {"error"}
    assert set(found["error"]) == {"message", "type", "param", "code", "doc_url"}
    assert found["error"]["message"]
    return found["error"]


async def answered(bench, client, text=b"{}"):
    """Sends nothing; answers the next request at the router and returns the reply."""
    frame = await bench.stream.next()
    bench.stream.reply(frame.id, text)
    return await client.reply()
