"""Embeddings: vectors of length one, the same for the same text, and nearer the more words two texts share."""

import base64
import hashlib
import math
from array import array

LARGE = 3072
USUAL = 1536
NOISE = 0.25
FEATURES = 8


def default_dimensions(model: str) -> int:
    """Returns how many numbers a vector of this model has when the request does not say."""
    return LARGE if "large" in model else USUAL


def embed(model: str, text: str, dimensions: int) -> "array[float]":
    """Returns `dimensions` 32-bit floats whose squares add up to one."""
    seed = f"{model}\0{text}".encode("utf-8", "surrogatepass")
    noise = array("h", hashlib.shake_128(seed).digest(2 * dimensions))
    scale = NOISE / 32768 / math.sqrt(dimensions)
    vector = [number * scale for number in noise]
    words = text.lower().split() or [""]
    weight = 1 / math.sqrt(len(words) * FEATURES)
    for word in words:
        places = array("I", hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4 * FEATURES).digest())
        for place in places:
            vector[(place >> 1) % dimensions] += weight if place & 1 else -weight
    length = math.sqrt(math.fsum(number * number for number in vector))
    return array("f", [number / length for number in vector])


def encoded(vector: "array[float]", encoding: str) -> str | list[float]:
    """Returns a vector as `base64` (little-endian floats) or as the numbers themselves."""
    if encoding == "base64":
        return base64.b64encode(vector.tobytes()).decode()
    return [round(number, 8) for number in vector]
