"""Embeddings, images and models: from a request to the reply's value. No I/O."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from tollgate_simulator_provider import pictures, vectors
from tollgate_simulator_provider.refusals import Refused
from tollgate_simulator_provider.tokens import input_tokens, text_tokens

MOST_INPUTS = 2048
MOST_DIMENSIONS = 4096
MOST_IMAGES = 10
QUALITY_TOKENS = {"low": 272, "medium": 1056, "high": 4160}
USUAL_PIXELS = 1024 * 1024
SOURCE_TOKENS = 320
MODELS = (
    "gpt-5.1",
    "gpt-5-mini",
    "gpt-4o-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "gpt-image-1",
    "dall-e-3",
)


def embeddings(request: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """Returns the reply and the units counted. Raises Refused."""
    model, value = request["model"], request.get("input")
    try:
        count = input_tokens(value)
    except ValueError as error:
        raise Refused(400, f"Invalid 'input': {error}.", param="input") from error
    inputs = value if isinstance(value, list) and not isinstance(value[0], int) else [value]
    if len(inputs) > MOST_INPUTS:
        raise Refused(400, f"Invalid 'input': more than {MOST_INPUTS} items.", param="input")
    dimensions = request.get("dimensions")
    dimensions = vectors.default_dimensions(model) if dimensions is None else dimensions
    if type(dimensions) is not int or not 1 <= dimensions <= MOST_DIMENSIONS:
        raise Refused(400, f"Invalid 'dimensions': must be 1 to {MOST_DIMENSIONS}.", param="dimensions")
    encoding = request.get("encoding_format") or "float"
    if encoding not in {"float", "base64"}:
        raise Refused(400, "Invalid 'encoding_format': must be float or base64.", param="encoding_format")
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": vectors.encoded(
                vectors.embed(model, item if isinstance(item, str) else repr(item), dimensions), encoding
            ),
        }
        for index, item in enumerate(inputs)
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": data, "model": model, "usage": usage}, {"input": count}


def seen(request: Mapping[str, Any], *, variation: bool) -> dict[str, Any]:
    """Returns a form with pictures as the request for new ones: another picture, another answer. Raises Refused."""
    found = request.get("image")
    given: list[Any] = found if isinstance(found, list) else [found]
    for picture in (*given, *([request["mask"]] if "mask" in request else [])):
        if not isinstance(picture, bytes) or not picture.startswith(b"\x89PNG\r\n\x1a\n"):
            raise Refused(400, "Invalid 'image': must be a PNG file.", param="image")
    if variation and (len(given) > 1 or "prompt" in request or request["model"] != "dall-e-2"):
        raise Refused(400, "Variations take one image, no prompt, and the model dall-e-2.", param="model")
    marks = [hashlib.blake2b(picture, digest_size=4).hexdigest() for picture in given]
    prompt = f"variation of {marks[0]}" if variation else request.get("prompt")
    fields = {name: value for name, value in request.items() if name not in {"image", "mask"}}
    if "n" in fields:
        fields["n"] = int(fields["n"])
    return {**fields, "prompt": prompt, "pictures": marks}


def images(request: Mapping[str, Any], created: int, origin: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Returns the reply and the units counted; `origin` begins the addresses of files. Raises Refused."""
    model, prompt = request["model"], request.get("prompt")
    tokens = model.startswith(("gpt-image", "gemini"))
    if not isinstance(prompt, str) or not prompt:
        raise Refused(400, "Missing 'prompt'.", param="prompt", code="missing_required_parameter")
    count = request.get("n") or 1
    if type(count) is not int or not 1 <= count <= MOST_IMAGES:
        raise Refused(400, f"Invalid 'n': must be 1 to {MOST_IMAGES}.", param="n")
    if model.startswith("gpt-image") and "response_format" in request:
        raise Refused(400, "Unknown parameter: 'response_format'.", param="response_format", code="unknown_parameter")
    size, quality = request.get("size") or "1024x1024", request.get("quality") or "auto"
    try:
        width, height = pictures.size_of(size if isinstance(size, str) else "")
    except ValueError as error:
        raise Refused(400, f"Invalid 'size': it {error}.", param="size") from error
    form = request.get("response_format") or ("b64_json" if tokens else "url")
    if form not in {"url", "b64_json"}:
        raise Refused(400, "Invalid 'response_format': must be url or b64_json.", param="response_format")
    data = []
    for index in range(count):
        seed = pictures.seed_of(model, prompt + "".join(request.get("pictures", ())), index)
        if form == "url":
            item = {"url": f"{origin}/_files/{seed.hex()}-{width}x{height}.png"}
        else:
            item = {"b64_json": base64.b64encode(pictures.draw(seed, width, height)).decode()}
        if not tokens:
            item["revised_prompt"] = f"[simulated] {prompt}"
        data.append(item)
    reply: dict[str, Any] = {"created": created, "data": data}
    units = {"images": count}
    if tokens:
        quality = quality if quality in QUALITY_TOKENS else "medium"
        output = count * (QUALITY_TOKENS[quality] * width * height // USUAL_PIXELS)
        entered, looked = max(1, text_tokens(prompt)), SOURCE_TOKENS * len(request.get("pictures", ()))
        units |= {"input": entered, "image_output": output} | ({"image_input": looked} if looked else {})
        reply |= {"size": f"{width}x{height}", "quality": quality, "output_format": "png", "background": "opaque"}
        reply["usage"] = {
            "total_tokens": entered + looked + output,
            "input_tokens": entered + looked,
            "output_tokens": output,
            "input_tokens_details": {"text_tokens": entered, "image_tokens": looked},
        }
    return reply, units


def models() -> dict[str, Any]:
    """Returns the list of models; any other name is answered as well."""
    return {"object": "list", "data": [model(name) for name in MODELS]}


def model(name: str) -> dict[str, Any]:
    """Returns one entry of the list."""
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"}
