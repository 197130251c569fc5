"""Keys with lists of endpoints and addresses at the door: refused before anything is held or sent on."""

from dataclasses import replace

import pytest
from services.edge.tests.fakes.door import answered, clean, error_of
from services.edge.tests.fakes.inference import Bench, chat

from tollgate_edge.domain.access import access_of

pytestmark = pytest.mark.integration


def narrow(bench, endpoints=None, cidrs=None):
    keys = bench.gateway.authenticator
    keys.principal = replace(keys.principal, access=access_of(endpoints, cidrs))


async def refused(bench, request, code):
    client = await bench.client()
    client.send(request)
    status, _, body = await client.reply()
    assert (status, error_of(body)["code"]) == (403, code)
    assert bench.admission.held == []
    assert bench.stream.opened.empty()
    return error_of(body)["message"]


async def test_a_key_without_lists_and_one_whose_lists_fit_are_answered(bench):
    for lists in ((None, None), (("chat",), None), (None, ("127.0.0.0/8",)), (("media", "chat"), ("127.0.0.1",))):
        narrow(bench, *lists)
        client = await bench.client()
        client.send(chat())
        assert (await answered(bench, client))[0] == 200


async def test_a_key_for_something_else_is_refused(bench):
    narrow(bench, ("embeddings",))
    assert "embeddings" in await refused(bench, chat(), "endpoint_not_allowed")
    narrow(bench, ("chat",))
    await refused(bench, chat(path="/v1/embeddings"), "endpoint_not_allowed")


async def test_a_key_for_another_network_is_refused_whatever_the_caller_says(bench):
    narrow(bench, None, ("203.0.113.0/24",))
    lie = "X-Forwarded-For: 203.0.113.9\r\nContent-Type: application/json\r\n"
    body = b"{}"
    request = chat(extra=f"{lie}Content-Length: {len(body)}\r\n", body=body)
    assert "127.0.0.1" in await refused(bench, request, "address_not_allowed")


async def test_behind_proxies_the_entry_of_the_outermost_counts():
    async with Bench(trusted_hops=2).serving() as bench:
        narrow(bench, None, ("203.0.113.0/24",))
        length = len(chat().partition(b"\r\n\r\n")[2])
        kind = f"Content-Type: application/json\r\nContent-Length: {length}\r\n"
        near = f"{kind}X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\nX-Forwarded-For: 10.0.0.2\r\n"
        client = await bench.client()
        client.send(chat(extra=near))
        assert (await answered(bench, client))[0] == 200
        bench.admission.held.clear()
        far = f"{kind}X-Forwarded-For: 203.0.113.9, 198.51.100.7, 10.0.0.2\r\n"
        assert "198.51.100.7" in await refused(bench, chat(extra=far), "address_not_allowed")
        short = f"{kind}X-Forwarded-For: 203.0.113.9\r\n"
        assert "unknown" in await refused(bench, chat(extra=short), "address_not_allowed")
        await clean(bench)
