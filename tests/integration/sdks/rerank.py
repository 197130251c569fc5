"""Cohere's client, unmodified, from the lock in `older_sdks`: prints what it made of its questions as JSON.

The argument is JSON: `url` and `key`.
"""

import json
import sys
from typing import Any

import cohere
import httpx

ASKED: Any = {"model": "rerank-v3.5", "query": "toll gate", "documents": ["a gate", "the sea", "a toll gate"]}


def main() -> None:
    """Prints the JSON: by version of its API what came back, and the error of a model that is not there."""
    asked = json.loads(sys.argv[1])
    named: Any = {"api_key": asked["key"], "base_url": asked["url"], "httpx_client": httpx.Client(trust_env=False)}
    found: dict[str, Any] = {}
    for version, client in (("v1", cohere.Client(**named)), ("v2", cohere.ClientV2(**named))):
        reply = client.rerank(**ASKED, top_n=2)
        found[version] = {
            "id": reply.id,
            "results": [[one.index, one.relevance_score] for one in reply.results],
            "searches": reply.meta.billed_units.search_units if reply.meta and reply.meta.billed_units else None,
        }
    try:
        client.rerank(**{**ASKED, "model": "not-there"})
    except cohere.core.ApiError as error:
        found["refused"] = [type(error).__name__, error.status_code, error.body]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
