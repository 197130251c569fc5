"""What the Responses API refuses: members of chat, items that lead nowhere, thoughts that it did not seal. No I/O.

Written from the vendor's reference and from the words of its errors in bug reports.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from tollgate_simulator_provider.refusals import Refused

MEMBERS = {
    *("background", "client_metadata", "context_management", "conversation", "include", "input", "instructions"),
    *("max_output_tokens", "max_tool_calls", "metadata", "model", "moderation", "parallel_tool_calls"),
    *("previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    *("reasoning", "safety_identifier", "service_tier", "store", "stream", "stream_options", "temperature", "text"),
    *("tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user"),
}
INCLUDABLE = {
    *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources"),
    *("message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs"),
    *("reasoning.encrypted_content", "message.output_text.logprobs"),
}
KINDS: dict[str, tuple[type, ...]] = {
    "instructions": (str,),
    "max_tool_calls": (int,),
    "metadata": (dict,),
    "parallel_tool_calls": (bool,),
    "prompt_cache_key": (str,),
    "reasoning": (dict,),
    "safety_identifier": (str,),
    "store": (bool,),
    "stream": (bool,),
    "text": (dict,),
    "user": (str,),
}
PARTS = {
    "assistant": {"output_text", "refusal"},
    "other": {"input_text", "input_image", "input_file"},
}
EFFORTS = {"none", "minimal", "low", "medium", "high", "xhigh", "max"}
# Of each kind of item: how its ids begin. Items of other kinds are none of the wire.
ITEMS = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fc",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctc",
    "web_search_call": "ws",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsh",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
    "item_reference": "",
}
CALLS = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}
HOSTED = {"web_search", "web_search_preview", "image_generation", "local_shell", "tool_search"}
LEAST_OUTPUT = 16


def check(request: Mapping[str, Any]) -> None:
    """Raises Refused for a request that the real wire would not take."""
    for name in request:
        if name not in MEMBERS:
            raise _unknown(name)
    for name, kinds in KINDS.items():
        value = request.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise _invalid(name, f"expected {kinds[0].__name__}")
    _check_state(request)
    _check_numbers(request)
    _check_input(request.get("input"))
    _check_tools(request)
    _check_options(request)


def sealed(thought: str) -> str:
    """Returns a thought as `encrypted_content`: nobody else makes it, and a change of a letter breaks it."""
    proof = hashlib.blake2b(f"sealed {thought}".encode(), digest_size=12).digest()
    return "gAAAAA" + base64.urlsafe_b64encode(proof + thought.encode()).decode()


def _check_state(request: Mapping[str, Any]) -> None:
    if request.get("previous_response_id") is not None:
        known = request["previous_response_id"]
        words = f"Previous response with id '{known}' not found."
        raise Refused(400, words, param="previous_response_id", code="previous_response_not_found")
    for name in ("conversation", "prompt"):
        if request.get(name) is not None:
            raise Refused(404, f"[simulated] No {name} of this id.", param=name)
    if request.get("background"):
        raise Refused(400, "[simulated] Nothing runs in the background here.", param="background")


def _check_numbers(request: Mapping[str, Any]) -> None:
    limit = request.get("max_output_tokens")
    if limit is not None:
        if type(limit) is not int:
            raise _invalid("max_output_tokens", "expected an integer")
        if limit < LEAST_OUTPUT:
            words = (
                f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {LEAST_OUTPUT}, but "
                f"got {limit} instead."
            )
            raise Refused(400, words, param="max_output_tokens", code="integer_below_min_value")
    for name, most in (("temperature", 2), ("top_p", 1)):
        value = request.get(name)
        if value is not None and (type(value) not in {int, float} or not 0 <= value <= most):
            raise _invalid(name, f"expected a number from 0 to {most}")


def _check_options(request: Mapping[str, Any]) -> None:
    options = request.get("stream_options")
    if options is not None:
        if not request.get("stream"):
            words = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise Refused(400, words, param="stream_options")
        _only(options, {"include_obfuscation"}, "stream_options")
    include = request.get("include") or []
    if not isinstance(include, list) or any(name not in INCLUDABLE for name in include):
        raise _invalid("include", "a value that cannot be included")
    text = request.get("text") or {}
    _only(text, {"format", "verbosity"}, "text")
    form = text.get("format") or {"type": "text"}
    if form.get("type") not in {"text", "json_object", "json_schema"}:
        raise _invalid("text.format.type", "no such format")
    if form["type"] == "json_schema" and not (form.get("name") and isinstance(form.get("schema"), dict)):
        raise Refused(
            400, "Missing required parameter: 'text.format.name'.", param="text.format", code="missing_required"
        )
    reasoning = request.get("reasoning") or {}
    _only(reasoning, {"effort", "summary", "generate_summary", "context", "mode"}, "reasoning")
    if reasoning.get("effort") not in {None, *EFFORTS}:
        raise _invalid("reasoning.effort", "no such effort")


def _check_input(found: object) -> None:
    if isinstance(found, str) and found:
        return
    if not isinstance(found, list) or not found:
        code = "missing_required_parameter" if found is None else "invalid_value"
        raise Refused(400, "Missing or empty 'input'.", param="input", code=code)
    calls: set[tuple[str, str]] = set()
    for place, item in enumerate(found):
        if not isinstance(item, dict):
            raise _invalid(f"input[{place}]", "expected an object")
        _check_item(item, f"input[{place}]", calls)


def _check_item(item: Mapping[str, Any], where: str, calls: set[tuple[str, str]]) -> None:
    kind = item.get("type", "message")
    if kind not in ITEMS:
        raise _invalid(f"{where}.type", f"{kind!r} is no item")
    known = item.get("id")
    if kind == "item_reference" or (kind == "reasoning" and not item.get("encrypted_content")):
        words = (
            f"Item with id '{known}' not found. Items are not persisted when `store` is set to false. Try again with "
            "`store` set to true, or remove this item from your input."
        )
        raise Refused(404, words, param="input")
    if known is not None and not str(known).startswith(ITEMS[kind]):
        words = f"Invalid '{where}.id': '{known}'. Expected an ID that begins with '{ITEMS[kind]}'."
        raise Refused(400, words, param=f"{where}.id", code="invalid_value")
    if kind == "message":
        _check_message(item, where)
    elif kind == "reasoning":
        _check_thought(item, where)
    else:
        _check_call(item, kind, where, calls)


def _check_call(item: Mapping[str, Any], kind: str, where: str, calls: set[tuple[str, str]]) -> None:
    call = (CALLS.get(kind, kind), str(item.get("call_id")))
    if kind in CALLS:
        if call not in calls:
            words = f"No tool call found for function call output with call_id {call[1]}."
            raise Refused(400, words, param="input")
        if not isinstance(item.get("output"), str | list):
            raise Refused(400, f"Missing required parameter: '{where}.output'.", param=f"{where}.output")
    elif kind in CALLS.values():
        calls.add(call)
        given = "arguments" if kind == "function_call" else "input"
        if not (item.get("call_id") and item.get("name") and isinstance(item.get(given), str)):
            raise Refused(400, f"Missing required parameter: '{where}.{given}'.", param=f"{where}.{given}")


def _check_message(item: Mapping[str, Any], where: str) -> None:
    _only(
        item, {"type", "id", "role", "content", "status", "phase", "internal_chat_message_metadata_passthrough"}, where
    )
    role = item.get("role")
    if role not in {"user", "assistant", "system", "developer"}:
        raise _invalid(f"{where}.role", f"{role!r} is no role")
    content = item.get("content")
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise _invalid(f"{where}.content", "expected a text or parts")
    allowed = PARTS.get(role, PARTS["other"])
    for number, part in enumerate(content):
        here = f"{where}.content[{number}]"
        if not isinstance(part, dict) or part.get("type") not in allowed:
            kind = part.get("type") if isinstance(part, dict) else part
            words = f"Invalid value: '{kind}'. Supported values are: {', '.join(sorted(allowed))}."
            raise Refused(400, words, param=f"{here}.type", code="invalid_value")
        if part["type"] == "input_image" and not isinstance(part.get("image_url", part.get("file_id")), str):
            raise _invalid(f"{here}.image_url", "expected an address")


def _check_thought(item: Mapping[str, Any], where: str) -> None:
    if not isinstance(item.get("summary"), list):
        raise Refused(400, f"Missing required parameter: '{where}.summary'.", param=f"{where}.summary")
    found = str(item["encrypted_content"])
    try:
        thought = base64.urlsafe_b64decode(found.removeprefix("gAAAAA"))[12:].decode()
    except (binascii.Error, UnicodeDecodeError):
        thought = ""
    if sealed(thought) != found:
        words = f"The encrypted content {found[:10]}... could not be verified. Reason: it could not be decrypted."
        raise Refused(400, words, code="invalid_encrypted_content")


def _check_tools(request: Mapping[str, Any]) -> None:
    tools = request.get("tools") or []
    if not isinstance(tools, list):
        raise _invalid("tools", "expected an array")
    for place, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise _invalid(f"tools[{place}]", "expected an object")
        _check_tool(tool, f"tools[{place}]")
    wish = request.get("tool_choice")
    if isinstance(wish, dict):
        _only(wish, {"type", "name", "mode", "tools", "server_label"}, "tool_choice")
    elif wish not in {None, "auto", "none", "required"}:
        raise _invalid("tool_choice", "no such choice")


def _check_tool(tool: Mapping[str, Any], where: str) -> None:
    kind = tool.get("type")
    if kind == "function":
        _only(tool, {"type", "name", "description", "parameters", "strict", "defer_loading", "output_schema"}, where)
    elif kind == "custom":
        _only(tool, {"type", "name", "description", "format", "defer_loading"}, where)
    elif kind == "namespace":
        for number, inner in enumerate(tool.get("tools") or ()):
            _check_tool(inner, f"{where}.tools[{number}]")
    elif kind not in HOSTED:
        raise _invalid(f"{where}.type", f"{kind!r} is no tool of the simulator")
    if kind in {"function", "custom", "namespace"} and not tool.get("name"):
        raise Refused(
            400,
            f"Missing required parameter: '{where}.name'.",
            param=f"{where}.name",
            code="missing_required_parameter",
        )


def _only(found: object, names: Iterable[str], where: str) -> None:
    if not isinstance(found, dict):
        raise _invalid(where, "expected an object")
    for name in found:
        if name not in names:
            raise _unknown(f"{where}.{name}")


def _unknown(name: str) -> Refused:
    return Refused(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def _invalid(name: str, words: str) -> Refused:
    return Refused(400, f"Invalid '{name}': {words}.", param=name, code="invalid_value")
