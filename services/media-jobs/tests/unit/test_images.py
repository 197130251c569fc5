"""What image bytes are taken for."""

import struct

import pytest
from media_jobs_fakes.images import chunk, jpeg, png, webp

from tollgate_media_jobs.domain.images import inspect_image
from tollgate_media_jobs.errors import NotAnImage

pytestmark = pytest.mark.unit

PIXELS = 1_000_000
HEADER = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(7, 9), ("image/png", "png", 7, 9)),
        (jpeg(300, 200), ("image/jpeg", "jpg", 300, 200)),
        (webp("VP8X", 640, 480), ("image/webp", "webp", 640, 480)),
        (webp("VP8L", 640, 481), ("image/webp", "webp", 640, 481)),
        (webp("VP8 ", 641, 480), ("image/webp", "webp", 641, 480)),
    ],
)
def test_kind_and_size_are_read_from_the_bytes(data, expected):
    facts = inspect_image(data, max_pixels=PIXELS)
    assert (facts.content_type, facts.extension, facts.width, facts.height) == expected


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "neither"),
        (b"<html><body>502</body></html>", "neither"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "neither"),
        (b"GIF89a" + b"\x00" * 40, "neither"),
        (b"RIFF\x24\x00\x00\x00WAVE" + b"\x00" * 40, "neither"),
        (png()[:-1], "cut short"),
        (png()[:-12], "cut short"),
        (png()[:20], "cut short"),
        (png().replace(b"IDAT", b"IDAX"), "checksum"),
        (PNG + chunk(b"IHDR", HEADER) + chunk(b"IEND", b""), "no picture"),
        (PNG + chunk(b"IDAT", b"x") + chunk(b"IEND", b""), "header"),
        (PNG + chunk(b"IHDR", HEADER[:8]) + chunk(b"IEND", b""), "header"),
        (png(0, 9), "no area"),
        (jpeg()[:-2], "cut short"),
        (b"\xff\xd8\xff\xda\x00\x02" + b"\x00" * 20 + b"\xff\xd9", "frame"),
        (b"\xff\xd8\xff\xe0\x00\x00" + b"\x00" * 20 + b"\xff\xd9", "segments"),
        (b"\xff\xd8\xff\xe0\x00\x04ab" + b"zz" * 10 + b"\xff\xd9", "segments"),
        (webp()[:-1], "cut short"),
        (webp().replace(b"VP8X", b"ALPH"), "no picture"),
    ],
)
def test_what_is_no_whole_image_is_refused(data, why):
    with pytest.raises(NotAnImage, match=why):
        inspect_image(data, max_pixels=PIXELS)


def test_a_picture_of_too_many_pixels_is_refused_by_its_header():
    bomb = PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb += chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    with pytest.raises(NotAnImage, match="60000x60000"):
        inspect_image(bomb, max_pixels=100_000_000)


def test_every_cut_of_every_kind_is_refused():
    for whole in (png(3, 3), webp("VP8X"), webp("VP8L"), webp("VP8 ")):
        for length in range(len(whole)):
            with pytest.raises(NotAnImage):
                inspect_image(whole[:length], max_pixels=PIXELS)
