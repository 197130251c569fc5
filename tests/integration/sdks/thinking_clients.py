"""The packages of three vendors in a conversation of several turns with tools and thoughts, which go back as they came.

Nothing but this step: the first turn is streamed with the package's helper, the second one comes whole.
"""

from typing import Any

import anthropic
import httpx
from google import genai
from google.genai import types
from openai_clients import client as openai_client
from scenario import TOOL_WORDS

PARAMETERS: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ANSWER = "sunny"


class Chat:
    """Chat completions, whose thoughts stand beside the text."""

    def __init__(self, address: str, key: str, model: str) -> None:
        self._chat = openai_client(address, key).chat.completions
        self._more: dict[str, Any] = {"model": model, "reasoning_effort": "low"}
        self._more["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]

    def thinking(self) -> Any:
        turns: list[Any] = [{"role": "user", "content": TOOL_WORDS}]
        with self._chat.stream(messages=turns, **self._more) as stream:
            for _ in stream:
                pass
            message = stream.get_final_completion().choices[0].message
        (call,) = message.tool_calls or ()
        turns.append(message.model_dump(exclude_none=True))
        turns.append({"role": "tool", "tool_call_id": call.id, "content": ANSWER})
        after = self._chat.create(messages=turns, **self._more).choices[0].message
        return {
            "thought": bool(getattr(message, "reasoning_content", None)),
            "call": [call.function.name, call.function.arguments],
            "after": bool(after.content),
        }


class Responses:
    """The Responses API, whose thoughts are items, sealed on request."""

    def __init__(self, address: str, key: str, model: str) -> None:
        self._responses = openai_client(address, key).responses
        self._more: dict[str, Any] = {"model": model, "store": False, "include": ["reasoning.encrypted_content"]}
        self._more["reasoning"] = {"effort": "low", "summary": "auto"}
        self._more["tools"] = [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}]

    def thinking(self) -> Any:
        turns: list[Any] = [{"role": "user", "content": TOOL_WORDS}]
        with self._responses.stream(input=turns, **self._more) as stream:
            for _ in stream:
                pass
            output = stream.get_final_response().output
        (call,) = [item for item in output if item.type == "function_call"]
        turns += [item.model_dump(exclude_none=True) for item in output]
        turns.append({"type": "function_call_output", "call_id": call.call_id, "output": ANSWER})
        after = self._responses.create(input=turns, **self._more)
        thoughts = [item for item in output if item.type == "reasoning"]
        return {
            "thought": bool(thoughts and thoughts[0].summary),
            "call": [call.name, call.arguments],
            "after": bool(after.output_text),
        }


class Messages:
    """Anthropic's package, whose thoughts are signed blocks."""

    def __init__(self, address: str, key: str, model: str) -> None:
        http = anthropic.DefaultHttpxClient(trust_env=False)
        self._messages = anthropic.Anthropic(base_url=address, api_key=key, max_retries=0, http_client=http).messages
        self._more: dict[str, Any] = {"model": model, "max_tokens": 4000}
        self._more["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        self._more["tools"] = [{"name": "weather", "input_schema": PARAMETERS}]

    def thinking(self) -> Any:
        turns: list[Any] = [{"role": "user", "content": TOOL_WORDS}]
        with self._messages.stream(messages=turns, **self._more) as stream:
            content = stream.get_final_message().content
        (call,) = [block for block in content if block.type == "tool_use"]
        turns.append({"role": "assistant", "content": content})
        turns.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": ANSWER}]})
        after = self._messages.create(messages=turns, **self._more)
        return {
            "thought": any(block.type == "thinking" and block.thinking for block in content),
            "call": [call.name, call.input],
            "after": any(block.type == "text" and block.text for block in after.content),
        }


class Contents:
    """Google's package, whose thoughts are parts, and whose calls are signed."""

    def __init__(self, address: str, key: str, model: str) -> None:
        options = types.HttpOptions(base_url=address, httpx_client=httpx.Client(trust_env=False, timeout=60))
        self._models = genai.Client(api_key=key, http_options=options).models
        self._model = model
        declared = types.FunctionDeclaration(name="weather", parameters_json_schema=PARAMETERS)
        self._config = types.GenerateContentConfig(
            tools=[types.Tool(function_declarations=[declared])],
            thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW, include_thoughts=True),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )

    def thinking(self) -> Any:
        turns: list[Any] = [types.Content(role="user", parts=[types.Part(text=TOOL_WORDS)])]
        asked: dict[str, Any] = {"model": self._model, "config": self._config}
        chunks = list(self._models.generate_content_stream(contents=turns, **asked))
        parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or ()]
        (call,) = [part.function_call for part in parts if part.function_call]
        turns.append(types.Content(role="model", parts=parts))
        answer = types.FunctionResponse(id=call.id, name=call.name, response={"result": ANSWER})
        turns.append(types.Content(role="user", parts=[types.Part(function_response=answer)]))
        after = self._models.generate_content(contents=turns, **asked)
        return {
            "thought": any(part.thought and part.text for part in parts),
            "call": [call.name, call.args],
            "after": bool(after.text),
        }


THINKERS = {
    "thinking-openai": ("chat", Chat),
    "thinking-openai-responses": ("responses", Responses),
    "thinking-anthropic": ("messages", Messages),
    "thinking-google": ("contents", Contents),
}
