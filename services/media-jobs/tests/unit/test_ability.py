"""A request against what its model accepts: the parameter at fault is named, and what is allowed."""

import pytest

from tollgate_media_jobs.adapters.configuration import load_abilities
from tollgate_media_jobs.domain.job import ImageRequest
from tollgate_media_jobs.errors import Invalid

pytestmark = pytest.mark.unit

ABILITIES = load_abilities()


@pytest.mark.parametrize(
    ("model", "image"),
    [
        ("gpt-image-1", ImageRequest("a fox")),
        ("gpt-image-1", ImageRequest("a fox", "auto", "auto", 10, "webp", "someone")),
        ("gpt-image-1-mini", ImageRequest("a fox", "1024x1536", "high")),
        ("gpt-image-2", ImageRequest("a fox", "3840x2160", "low")),
        ("dall-e-3", ImageRequest("x" * 4000, "1792x1024", "hd")),
        ("somebody/else", ImageRequest("a fox", "640x480", "standard", 10)),
    ],
)
def test_what_a_model_accepts_passes(model, image):
    ABILITIES.of(model).check(image)


@pytest.mark.parametrize(
    ("model", "image", "param", "says"),
    [
        ("gpt-image-1", ImageRequest(""), "prompt", "empty"),
        ("gpt-image-1", ImageRequest(" \n"), "prompt", "empty"),
        ("gpt-image-1", ImageRequest("x" * 32001), "prompt", "at most 32000"),
        ("gpt-image-1", ImageRequest("a", count=0), "n", "1 to 10"),
        ("gpt-image-1", ImageRequest("a", count=11), "n", "1 to 10"),
        ("dall-e-3", ImageRequest("a", count=2), "n", "only 1"),
        ("gpt-image-1", ImageRequest("a", "512x512"), "size", "1024x1024, 1024x1536, 1536x1024, auto"),
        ("gpt-image-2", ImageRequest("a", "1000x1000"), "size", "divisible by 16"),
        ("gpt-image-2", ImageRequest("a", "3840x256"), "size", "3 times"),
        ("gpt-image-2", ImageRequest("a", "4096x2048"), "size", "3840"),
        ("somebody/else", ImageRequest("a", "1024X1024"), "size", "WIDTHxHEIGHT"),
        ("somebody/else", ImageRequest("a", "big" * 100), "size", "…"),
        ("gpt-image-1", ImageRequest("a", quality="ultra"), "quality", "low, medium, high, auto"),
        ("gpt-image-1", ImageRequest("a", output_format="gif"), "output_format", "png, jpeg, webp"),
        ("gpt-image-1", ImageRequest("a", user="u" * 257), "user", "at most 256"),
    ],
)
def test_what_it_does_not_accept_is_named(model, image, param, says):
    with pytest.raises(Invalid, match=says) as found:
        ABILITIES.of(model).check(image)
    assert found.value.param == param
    assert len(found.value.message) < 300
