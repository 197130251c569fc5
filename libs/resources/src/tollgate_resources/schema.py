"""The JSON Schema of `tollgate.yaml`, made from the models that check it."""

from typing import Any

from tollgate_resources.declared import Declared
from tollgate_resources.models import ALL_MODELS


def json_schema() -> dict[str, Any]:
    """Returns the schema, for editors and for people; `load` checks more than a schema can say."""
    schema = Declared.model_json_schema()
    # Shorthands that the models unfold before they check.
    shapes = schema["$defs"]
    shapes["ChannelModel"] = {"anyOf": [{"type": "string"}, shapes["ChannelModel"]]}
    models = shapes["Channel"]["properties"]["models"]
    shapes["Channel"]["properties"]["models"] = {
        "description": models.pop("description", ""),
        "anyOf": [{"const": ALL_MODELS}, models],
    }
    schema["title"] = "tollgate.yaml"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
