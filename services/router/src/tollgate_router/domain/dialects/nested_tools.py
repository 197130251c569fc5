"""Tools of a chat that come as the Responses API has them, without `function` around them: Cursor sends them so."""

import msgspec


def with_nested_tools(members: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Returns the members of a chat whose tools are as chat has them; one client sends them as the Responses API does.

    Tools that say `function` of themselves are not looked at.
    """
    raw = members.get("tools")
    if raw is None or b'"function":' in (text := bytes(raw)) or b'"function" :' in text or b'"name"' not in text:
        return members
    try:
        found = msgspec.json.decode(raw, type=list[dict[str, msgspec.Raw]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return members
    nested = [
        {"type": tool["type"], "function": {name: value for name, value in tool.items() if name != "type"}}
        if bytes(tool.get("type", b"")) == b'"function"' and "name" in tool
        else tool
        for tool in found
    ]
    return {**members, "tools": msgspec.Raw(msgspec.json.encode(nested))}
