"""The major version of the openai package before the current one: chat with its strictest helpers, and Responses."""

from typing import Any

import openai
from scenario import ASK_JSON, BROKEN, HELLO, LOOK, PNG, TOOL_WORDS, City

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def said(text: str) -> list[Any]:
    """Returns a conversation of one turn."""
    return [{"role": "user", "content": text}]


def client(address: str, key: str) -> openai.OpenAI:
    """Returns a client that tries once and heeds no proxy."""
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=address, api_key=key, max_retries=0, http_client=http)


class Chat:
    """Chat completions."""

    def __init__(self, address: str, key: str, model: str) -> None:
        self._chat = client(address, key).chat.completions
        self._model = model

    def chat(self) -> Any:
        reply = self._chat.create(model=self._model, messages=said(HELLO))
        return _facts(reply)

    def stream(self) -> Any:
        options: Any = {"include_usage": True}
        with self._chat.stream(model=self._model, messages=said(HELLO), stream_options=options) as stream:
            deltas = [event.delta for event in stream if event.type == "content.delta"]
            final = stream.get_final_completion()
        return _facts(final) | {"deltas_say_it": "".join(deltas) == final.choices[0].message.content}

    def tools(self) -> Any:
        tools: list[Any] = [
            {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS, "strict": True}}
        ]
        with self._chat.stream(model=self._model, messages=said(TOOL_WORDS), tools=tools) as stream:
            for _ in stream:
                pass
            message = stream.get_final_completion().choices[0].message
        (call,) = message.tool_calls or ()
        turns = [*said(TOOL_WORDS), message.model_dump(exclude_none=True)]
        turns.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
        after = self._chat.create(model=self._model, messages=turns, tools=tools)
        return {"call": [call.function.name, call.function.parsed_arguments], "after": bool(_facts(after)["text"])}

    def vision(self) -> Any:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
        content: Any = [{"type": "text", "text": LOOK}, image]
        return _facts(self._chat.create(model=self._model, messages=[{"role": "user", "content": content}]))

    def structured(self) -> Any:
        reply = self._chat.parse(model=self._model, messages=said(ASK_JSON), response_format=City)
        parsed = reply.choices[0].message.parsed
        return parsed.model_dump() if parsed is not None else None

    def refused(self) -> Any:
        return _facts(self._chat.create(model=self._model, messages=[]))

    def broken(self) -> Any:
        with self._chat.stream(model=self._model, messages=said(BROKEN)) as stream:
            return [event.type for event in stream]


def _facts(reply: Any) -> dict[str, Any]:
    choice, usage = reply.choices[0], reply.usage
    return {
        "text": choice.message.content,
        "finish": choice.finish_reason,
        "usage": [usage.prompt_tokens, usage.completion_tokens],
    }


class Responses:
    """The Responses API."""

    def __init__(self, address: str, key: str, model: str) -> None:
        self._responses = client(address, key).responses
        self._model = model

    def chat(self) -> Any:
        return _response_facts(self._responses.create(model=self._model, input=HELLO))

    def stream(self) -> Any:
        with self._responses.stream(model=self._model, input=HELLO) as stream:
            deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
            final = stream.get_final_response()
        return _response_facts(final) | {"deltas_say_it": "".join(deltas) == final.output_text}

    def tools(self) -> Any:
        tools: list[Any] = [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}]
        first = self._responses.create(model=self._model, input=TOOL_WORDS, tools=tools)
        (call,) = [item for item in first.output if item.type == "function_call"]
        turns: list[Any] = [*said(TOOL_WORDS), *[item.model_dump(exclude_none=True) for item in first.output]]
        turns.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
        after = self._responses.create(model=self._model, input=turns, tools=tools)
        return {"call": [call.name, call.arguments], "after": bool(after.output_text)}

    def vision(self) -> Any:
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
        content: Any = [{"type": "input_text", "text": LOOK}, image]
        return _response_facts(self._responses.create(model=self._model, input=[{"role": "user", "content": content}]))

    def structured(self) -> Any:
        reply = self._responses.parse(model=self._model, input=ASK_JSON, text_format=City)
        return reply.output_parsed.model_dump() if reply.output_parsed is not None else None

    def refused(self) -> Any:
        return _response_facts(self._responses.create(model=self._model, input=[]))

    def broken(self) -> Any:
        with self._responses.stream(model=self._model, input=BROKEN) as stream:
            return [event.type for event in stream]


def _response_facts(reply: Any) -> dict[str, Any]:
    usage = [reply.usage.input_tokens, reply.usage.output_tokens]
    return {"text": reply.output_text, "finish": reply.status, "usage": usage}


PACKAGES = {"openai-2": ("chat", Chat), "openai-2-responses": ("responses", Responses)}
