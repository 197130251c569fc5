"""The published description of the API (OpenAPI 3.1): FastAPI's, and what it cannot know.

FastAPI sees paths, parameters and the status of success. Bodies are read by handlers, since money must not become a
float on the way and errors have the shape of each dialect; inference is answered before FastAPI. So bodies, replies,
errors, keys and the paths of inference are added here, from `described` and `replies`.
"""

from typing import Any, Final

from tollgate_edge.api import described, replies

_ABOUT: Final = (
    "Every path below /v1 also answers without it. Errors come in the dialect of the path, and every reply has an "
    "`x-request-id`."
)
_JSON: Final = "application/json"
_FORM: Final = "multipart/form-data"
_BEARER: Final = "bearer"
_MODEL: Final = {
    "name": "model",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "example": "gemini-3.5-flash",
}


def complete(found: dict[str, Any]) -> dict[str, Any]:
    """Returns what FastAPI wrote with all that is missing in it."""
    paths = found["paths"]
    paths |= {path: {"post": _inference(path, *said, _JSON)} for path, said in described.INFERENCE.items()}
    paths |= {
        path: {"post": _inference(path, summary, described.SOUND, _FORM)} for path, summary in described.SOUNDS.items()
    }
    for path, methods in paths.items():
        for method, operation in methods.items():
            _complete_operation(f"{method.upper()} {path}", path, operation)
    found["info"]["description"] = _ABOUT
    found["components"] = {
        "schemas": replies.SCHEMAS,
        "securitySchemes": {_BEARER: {"type": "http", "scheme": "bearer"}},
    }
    return found


def _inference(path: str, summary: str, body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "operationId": path.strip("/").replace("/", "_").replace("{model}:", ""),
        "parameters": [_MODEL] if "{model}" in path else [],
        "requestBody": {"required": True, "content": {kind: {"schema": body}}},
        "responses": {"200": {"description": "Successful Response"}},
    }


def _complete_operation(name: str, path: str, operation: dict[str, Any]) -> None:
    told = operation["responses"]
    # Said by FastAPI for a validation whose errors are ours.
    told.pop("422", None)
    is_page = any(one["name"] == "cursor" for one in operation.get("parameters", ()))
    for reply in told.values():
        reply["content"] = replies.reply_content(name, is_page=is_page)
    if name == "POST /api/v1/keys/import":
        told["200"] = {"description": "What would be imported", "content": {_JSON: {"schema": {"type": "object"}}}}
    wrong = {
        "description": "What was wrong, and what to do",
        "content": {_JSON: {"schema": replies.error_schema(path)}},
    }
    told |= {"4XX": wrong, "5XX": wrong}
    if (body := _body(name)) is not None:
        operation["requestBody"] = body
    operation["security"] = [] if name in described.OPEN else [{_BEARER: []}]


def _body(name: str) -> dict[str, Any] | None:
    if name in described.BODIES:
        return {
            "required": name not in described.OPTIONAL,
            "content": {_JSON: {"schema": described.BODIES[name]}},
        }
    if name in described.FORMS:
        return {"required": True, "content": {_FORM: {"schema": described.FORMS[name]}}}
    if name in described.FILES:
        return {"required": True, "content": {described.FILES[name]: {}}}
    return None
