"""What calls tools itself: pydantic-ai in three dialects, and the agents package of OpenAI in two."""

import base64
from typing import Any

import agents
import anthropic
import openai
from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider
from scenario import ASK_JSON, BROKEN, HELLO, LOOK, PNG, TOOL_WORDS, City, weather


class PydanticAi:
    """A model of pydantic-ai: its steps are the same whatever the dialect."""

    def __init__(self, model: Any, output: Any = None) -> None:
        self._model = model
        self._output = output or NativeOutput(City)

    async def chat(self) -> Any:
        return _facts(await Agent(self._model, retries=0).run(HELLO))

    async def stream(self) -> Any:
        async with Agent(self._model, retries=0).run_stream(HELLO) as run:
            text = "".join([delta async for delta in run.stream_text(delta=True, debounce_by=None)])
            usage = run.usage() if callable(run.usage) else run.usage
        return {"text": text, "usage": [usage.input_tokens, usage.output_tokens]}

    async def tools(self) -> Any:
        agent: Agent[Any, str] = Agent(self._model, retries=0)
        called: list[str] = []

        @agent.tool_plain(name="weather")
        def _weather(city: str) -> str:
            """How the weather is."""
            called.append(city)
            return weather(city)

        return {"called": called, "after": bool((await agent.run(TOOL_WORDS)).output)}

    async def vision(self) -> Any:
        image = BinaryContent(base64.b64decode(PNG), media_type="image/png")
        return _facts(await Agent(self._model, retries=0).run([LOOK, image]))

    async def structured(self) -> Any:
        reply = await Agent(self._model, output_type=self._output, retries=0).run(ASK_JSON)
        return reply.output.model_dump()

    async def broken(self) -> Any:
        async with Agent(self._model, retries=0).run_stream(BROKEN) as run:
            return [delta async for delta in run.stream_text(delta=True, debounce_by=None)]


def _facts(run: Any) -> dict[str, Any]:
    usage = run.usage() if callable(run.usage) else run.usage
    return {"text": run.output, "usage": [usage.input_tokens, usage.output_tokens]}


def pydantic_openai(address: str, key: str, model: str) -> PydanticAi:
    """Returns pydantic-ai's model of OpenAI's dialect."""
    client = openai.AsyncOpenAI(base_url=address, api_key=key, max_retries=0)
    return PydanticAi(OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client)))


def pydantic_anthropic(address: str, key: str, model: str) -> PydanticAi:
    """Returns pydantic-ai's model of Anthropic's dialect."""
    client = anthropic.AsyncAnthropic(base_url=address, api_key=key, max_retries=0)
    # By their names it takes others than Claude for models without structured output: the answer is a tool's then.
    return PydanticAi(AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client)), City)


def pydantic_google(address: str, key: str, model: str) -> PydanticAi:
    """Returns pydantic-ai's model of Gemini's dialect."""
    return PydanticAi(GoogleModel(model, provider=GoogleProvider(api_key=key, base_url=address)))


class OpenAiAgents:
    """The agents package."""

    def __init__(self, kind: Any, address: str, key: str, model: str) -> None:
        agents.set_tracing_disabled(disabled=True)
        self._kind, self._address, self._key, self._model = kind, address, key, model

    def _agent(self, **more: Any) -> agents.Agent[Any]:
        # The connections of a client belong to the loop of one step.
        client = openai.AsyncOpenAI(base_url=self._address, api_key=self._key, max_retries=0)
        return agents.Agent(name="a", model=self._kind(model=self._model, openai_client=client), **more)

    async def chat(self) -> Any:
        return _agent_facts(await agents.Runner.run(self._agent(), HELLO))

    async def stream(self) -> Any:
        run = agents.Runner.run_streamed(self._agent(), HELLO)
        text = ""
        async for event in run.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                text += event.data.delta
        return {"text": text, "deltas_say_it": text == run.final_output}

    async def tools(self) -> Any:
        called: list[str] = []

        @agents.function_tool(name_override="weather")
        def _weather(city: str) -> str:
            """How the weather is."""
            called.append(city)
            return weather(city)

        run = await agents.Runner.run(self._agent(tools=[_weather]), TOOL_WORDS)
        return {"called": called, "after": bool(run.final_output)}

    async def vision(self) -> Any:
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
        content = [{"type": "input_text", "text": LOOK}, image]
        asked: list[Any] = [{"role": "user", "content": content}]
        return _agent_facts(await agents.Runner.run(self._agent(), asked))

    async def structured(self) -> Any:
        run = await agents.Runner.run(self._agent(output_type=City), ASK_JSON)
        return run.final_output.model_dump()

    async def broken(self) -> Any:
        run = agents.Runner.run_streamed(self._agent(), BROKEN)
        return [event.type async for event in run.stream_events()]


def _agent_facts(run: Any) -> dict[str, Any]:
    usage = run.context_wrapper.usage
    return {"text": run.final_output, "usage": [usage.input_tokens, usage.output_tokens]}


def agents_chat(address: str, key: str, model: str) -> OpenAiAgents:
    """Returns the agents package over chat completions."""
    return OpenAiAgents(agents.OpenAIChatCompletionsModel, address, key, model)


def agents_responses(address: str, key: str, model: str) -> OpenAiAgents:
    """Returns the agents package over Responses, as it comes."""
    return OpenAiAgents(agents.OpenAIResponsesModel, address, key, model)


AGENTS = {
    "pydantic-ai-openai": ("chat", pydantic_openai),
    "pydantic-ai-anthropic": ("messages", pydantic_anthropic),
    "pydantic-ai-google": ("contents", pydantic_google),
    "openai-agents-chat": ("chat", agents_chat),
    "openai-agents-responses": ("responses", agents_responses),
}
