"""Azure OpenAI: OpenAI's wire at paths of deployments, with a header of its own and the marks of its filter. No I/O.

As strict as the vendor about the key's header, the version, and what a deployment's path is.
"""

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs, unquote

from tollgate_simulator_provider.refusals import Refused

PATH = re.compile(
    r"/azure/openai/(?:deployments/(?P<deployment>[^/]+)|v1)/"
    r"(?P<path>chat/completions|embeddings|images/generations|(?<=/v1/)responses)"
)
OPERATIONS = {
    "chat/completions": "chat",
    "embeddings": "embeddings",
    "images/generations": "images",
    "responses": "responses",
}
VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
SAFE = {"filtered": False, "severity": "safe"}
JUDGED = dict.fromkeys(("hate", "self_harm", "sexual", "violence"), SAFE)
# What a prompt must hold to be refused by the filter.
BLOCKED = "[[azure:blocked]]"


def check(deployment: str, query: bytes, headers: Mapping[bytes, bytes]) -> None:
    """Raises Refused for a request that the real wire would not take; `deployment` is empty on the v1 path."""
    if not headers.get(b"api-key") or b"authorization" in headers:
        raise Refused(401, "Access denied due to invalid subscription key or wrong API endpoint.", code="401")
    versions = parse_qs(query.decode("latin-1")).get("api-version", [])
    if deployment and not (len(versions) == 1 and VERSION.fullmatch(versions[0])):
        raise Refused(404, "Resource not found", code="404")
    if not deployment and versions not in ([], ["preview"]):
        raise Refused(400, "API version not supported", code="BadRequest")
    if unquote(deployment) == "missing":
        raise Refused(404, "The API deployment for this resource does not exist.", code="DeploymentNotFound")


def judge(prompt: str) -> None:
    """Raises Refused for a prompt that the filter does not let through."""
    if BLOCKED in prompt:
        words = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
        raise Refused(400, words, param="prompt", code="content_filter")


def frames(plain: Iterator[bytes]) -> Iterator[bytes]:
    """Yields a stream's frames with what the filter adds: before the first chunk, and behind the last with content."""
    judged = {"prompt_index": 0, "content_filter_results": JUDGED}
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    yield _frame(first | {"prompt_filter_results": [judged]})
    for frame in plain:
        if b'"finish_reason":"' in frame:
            offsets = {"check_offset": 0, "start_offset": 0, "end_offset": 9}
            choice = {"index": 0, "finish_reason": None, "content_filter_results": JUDGED}
            yield _frame(first | {"choices": [choice | {"content_filter_offsets": offsets}]})
        yield frame


def _frame(chunk: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(chunk, separators=(",", ":")).encode()
