"""Where a channel's models are asked: at most providers below one address, at clouds by paths of their own."""

from typing import Final

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_resources import VersionChannel, azure_place
from tollgate_router.domain.target import WIRE_BEDROCK

WIRES: Final = {
    "openai": wire.DIALECT_OPENAI_CHAT,
    "anthropic": wire.DIALECT_ANTHROPIC,
    "gemini": wire.DIALECT_GEMINI,
    "bedrock": WIRE_BEDROCK,
}
# What Claude at Vertex is told in the body, where others have a header and the name of the model.
_VERTEX_VERSION: Final = "vertex-2023-10-16"


class Place(msgspec.Struct, frozen=True):
    """`query` stands behind the path of an operation; `body_version` as on a Target."""

    base_path: str
    wire: int
    query: str = ""
    body_version: str = ""


def place_of(channel: VersionChannel, base_path: str, upstream_model: str) -> Place:
    """Returns where a model is asked, and on which wire; what lists models where `upstream_model` is empty."""
    spoken = WIRES[channel.wire]
    if channel.platform == "azure":
        between, query = azure_place(channel.cloud, upstream_model)
        return Place(base_path + between, spoken, query)
    if channel.platform == "vertex":
        claude = upstream_model.startswith("claude")
        cloud, publisher = channel.cloud, "anthropic" if claude else "google"
        path = f"{base_path}/v1/projects/{cloud.project}/locations/{cloud.region}/publishers/{publisher}"
        return Place(path, wire.DIALECT_ANTHROPIC, "", _VERTEX_VERSION) if claude else Place(path, spoken)
    return Place(base_path, spoken)
