"""Calls over the images wire and fetches of results, against a provider on loopback."""

import random
import socket

import pytest
from media_jobs_fakes.images import png

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_media_jobs.adapters.credentials import Credentials
from tollgate_media_jobs.adapters.egress import EgressClients
from tollgate_media_jobs.adapters.providers.fetcher import HttpFetcher
from tollgate_media_jobs.adapters.providers.openai_images import OpenAIImages
from tollgate_media_jobs.domain.channels import Channel, CredentialRef, Target
from tollgate_media_jobs.domain.job import ImageRequest
from tollgate_media_jobs.errors import AnswerLost, FetchFailed, FetchRefused, Refused
from tollgate_resources.ports import DEFAULT_PORTS, Ports

pytestmark = pytest.mark.integration


@pytest.fixture
async def clients():
    made = EgressClients(Ports(DEFAULT_PORTS, "THE_PORTS"), ca_file=None, connect_seconds=60, total_seconds=60)
    yield made
    await made.close()


@pytest.fixture
def images(clients):
    return images_within(clients, 60)


def images_within(clients, seconds):
    credentials = Credentials({"KEY": "sk-one\n", "BAD": "a b"}, random.Random(1))
    return OpenAIImages(clients, credentials, max_answer_bytes=100_000, total_seconds=seconds)


def target(provider, **changes):
    base_url = provider if isinstance(provider, str) else provider.base_url
    return Target(
        Channel(**({"name": "main", "provider": "x", "base_url": base_url, "private_network": True} | changes)), "up"
    )


async def test_pictures_and_usage_come_back(images, provider):
    answer = await images.generate(target(provider), ImageRequest("a fox", count=2))
    assert [drawn.data for drawn in answer.drawn] == [png(4, 4, 0), png(4, 4, 1)]
    assert answer.reported.tokens == {"input": 7, "image_output": 100}
    (entry,) = provider.ledger
    assert {"model": "up", "prompt": "a fox", "n": 2}.items() <= entry.items()
    assert not {"size", "quality", "user", "output_format"} & entry.keys()
    assert entry["auth"] is None


async def test_a_credential_is_sent_as_the_channel_says(images, provider, tmp_path):
    (tmp_path / "key").write_text("sk-two\nsecond line\n")
    for reference, expected in (
        (CredentialRef("env", "KEY"), "Bearer sk-one"),
        (CredentialRef("file", str(tmp_path / "key")), "Bearer sk-two"),
    ):
        await images.generate(
            target(provider, credentials=(CredentialRef("env", "BAD"), reference)), ImageRequest("a fox")
        )
        assert provider.ledger[-1]["auth"] == expected


@pytest.mark.parametrize(
    "reference",
    [
        CredentialRef("env", "NONE"),
        CredentialRef("env", "BAD"),
        CredentialRef("file", "/nowhere"),
    ],
)
async def test_without_a_usable_credential_nothing_is_sent(images, provider, reference):
    with pytest.raises(Refused) as found:
        await images.generate(target(provider, credentials=(reference,)), ImageRequest("a fox"))
    assert found.value.elsewhere
    assert not provider.ledger


async def test_a_connection_that_never_opened_is_a_clean_refusal(images):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Refused) as found:
            await images.generate(target(f"http://127.0.0.1:{taken.getsockname()[1]}"), ImageRequest("a fox"))
    assert (found.value.elsewhere, found.value.status) == (True, 0)


@pytest.mark.parametrize("prompt", ["cut: x", "half: x", "silent: x", "bare: x"])
async def test_an_answer_that_may_have_been_lost_is_told_so(clients, provider, prompt):
    # As long as it takes, but where nothing comes.
    images = images_within(clients, 3 if prompt == "silent: x" else 60)
    with pytest.raises(AnswerLost) as found:
        await images.generate(target(provider), ImageRequest(prompt))
    assert found.value.timed_out == (prompt == "silent: x")
    assert len(provider.ledger) == 1


@pytest.mark.parametrize(
    ("prompt", "kind", "elsewhere"),
    [
        ("busy: x", errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, True),
        ("invalid: x", errors.ERROR_KIND_INVALID_REQUEST, False),
    ],
)
async def test_a_refusal_keeps_the_providers_reason_and_not_its_names(images, provider, prompt, kind, elsewhere):
    with pytest.raises(Refused) as found:
        await images.generate(target(provider), ImageRequest(prompt))
    assert (found.value.failure.kind, found.value.elsewhere) == (kind, elsewhere)
    assert "internal.example" not in found.value.failure.message
    assert "abcdef" not in found.value.failure.message


async def test_an_answer_beyond_the_limit_is_refused_while_it_comes(clients, provider):
    small = OpenAIImages(clients, Credentials({}, random.Random(1)), max_answer_bytes=50, total_seconds=60)
    with pytest.raises(Refused) as found:
        await small.generate(target(provider), ImageRequest("a fox"))
    assert found.value.failure.kind == errors.ERROR_KIND_UPSTREAM_PROTOCOL
    assert not found.value.elsewhere


@pytest.mark.parametrize(
    "base_url",
    ["http://127.0.0.1:9", "http://[::1]:9", "http://localhost:9", "http://10.0.0.1", "http://169.254.169.254"],
)
async def test_a_channel_reaches_private_addresses_only_when_it_says_so(images, base_url):
    with pytest.raises(Refused) as found:
        await images.generate(target(base_url, private_network=False), ImageRequest("a fox"))
    assert "private" in found.value.detail or "special" in found.value.detail


@pytest.fixture
def fetcher(clients):
    return HttpFetcher(clients, max_bytes=10_000, total_seconds=60)


async def test_a_result_is_fetched_without_credentials(fetcher, provider):
    data = await fetcher.fetch(f"{provider.base_url}/picture.png", private_network=True)
    assert data == png(8, 6, 3)
    assert provider.fetched == [("/picture.png", None)]


async def test_redirects_are_followed_twice_and_judged_each_time(fetcher, provider):
    there = {"location": "/picture.png"}
    provider.pages |= {
        "/1": (302, b"", there),
        "/2": (302, b"", {"location": "/1"}),
        "/3": (302, b"", {"location": "/2"}),
    }
    assert await fetcher.fetch(f"{provider.base_url}/2", private_network=True) == png(8, 6, 3)
    with pytest.raises(FetchRefused, match="redirects"):
        await fetcher.fetch(f"{provider.base_url}/3", private_network=True)
    for location in ("http://169.254.169.254/latest", "file:///etc/passwd", "", "http://user:word@127.0.0.1/"):
        provider.pages["/away"] = (302, b"", {"location": location})
        provider.pages.pop("/picture.png", None)
        with pytest.raises(FetchRefused):
            await fetcher.fetch(f"{provider.base_url}/away", private_network=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x", "https://127.0.0.1:1/x", "https://10.1.2.3/x", "https://[::ffff:127.0.0.1]/x",
        "ftp://example.com/x", "https:///x", "https://user@example.com/x", "https://example.com:99999/x", "x", "",
        "https://" + "a" * 9000,
    ],
)  # fmt: skip
async def test_addresses_that_are_not_fetched(fetcher, url):
    with pytest.raises(FetchRefused):
        await fetcher.fetch(url, private_network=False)


async def test_a_result_that_is_gone_too_large_or_away(fetcher, provider):
    provider.pages |= {"/large": (200, b"x" * 10_001, {}), "/later": (503, b"", {}), "/never": (403, b"", {})}
    for path, error in (
        ("/large", FetchRefused),
        ("/nothing", FetchRefused),
        ("/never", FetchRefused),
        ("/later", FetchFailed),
    ):
        with pytest.raises(error):
            await fetcher.fetch(f"{provider.base_url}{path}", private_network=True)
    with pytest.raises(FetchFailed):
        await fetcher.fetch("http://127.0.0.1:1/x", private_network=True)


@pytest.mark.parametrize("place", ["1.1.1.1:22", "results.example:6379", "[2606:4700:4700::1111]:25"])
async def test_no_result_is_fetched_from_a_port_that_is_not_listed(clients, place):
    fetcher = HttpFetcher(clients, max_bytes=1000, total_seconds=5)
    with pytest.raises(FetchRefused, match="is not among those that THE_PORTS lists"):
        await fetcher.fetch(f"https://{place}/a.png", private_network=False)
