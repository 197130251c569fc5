"""Bytes by key: one suite for the fake, a local directory, memory and an S3 server."""

import pytest
from media_jobs_fakes.outside import FakeBlobs

from tollgate_media_jobs.adapters.assets import PIECE_BYTES, ObjectBlobs, new_store
from tollgate_media_jobs.errors import BlobsUnavailable

pytestmark = pytest.mark.integration


@pytest.fixture(params=["fake", "file", "memory", "s3"])
def blobs(request, tmp_path, monkeypatch):
    if request.param == "fake":
        return FakeBlobs()
    if request.param == "file":
        return ObjectBlobs(new_store(f"file://{tmp_path}/deep/as%20sets"))
    if request.param == "memory":
        return ObjectBlobs(new_store("memory:///"))
    server = request.getfixturevalue("s3")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return ObjectBlobs(new_store(f"s3://{server.new_bucket()}/some/prefix"))


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES + 7])
async def test_what_is_put_is_read_in_pieces(blobs, size):
    data = bytes(range(251)) * (size // 251 + 1)
    await blobs.put("assets/o/ab/x.png", data[:size], "image/png")
    pieces = [piece async for piece in blobs.read("assets/o/ab/x.png")]
    assert b"".join(pieces) == data[:size] == await blobs.get("assets/o/ab/x.png")
    assert [len(piece) for piece in pieces[:-1]] == [PIECE_BYTES] * (len(pieces) - 1)


async def test_putting_again_replaces(blobs):
    await blobs.put("a/b", b"long and old", "image/png")
    await blobs.put("a/b", b"new", "image/png")
    assert await blobs.get("a/b") == b"new"


async def test_what_is_not_there(blobs):
    assert await blobs.get("a/nothing") is None
    with pytest.raises(BlobsUnavailable):
        [piece async for piece in blobs.read("a/nothing")]
    await blobs.remove_below("nothing/")


async def test_removing_below_takes_all_and_nothing_else(blobs):
    for key in ("staging/job_1/1/0", "staging/job_1/1/1", "staging/job_1/2/0", "staging/job_10/1/0", "assets/o/x"):
        await blobs.put(key, b"x", "image/png")
    await blobs.remove_below("staging/job_1/")
    for key, left in (
        ("staging/job_1/1/0", None),
        ("staging/job_1/2/0", None),
        ("staging/job_10/1/0", b"x"),
        ("assets/o/x", b"x"),
    ):
        assert await blobs.get(key) == left


@pytest.mark.parametrize("url", ["", "/tmp/x", "file://host/x", "file:///", "s3:///x", "ftp://x/y"])
def test_an_address_of_another_kind_is_refused(url):
    with pytest.raises(ValueError, match="assets are kept at"):
        new_store(url)
