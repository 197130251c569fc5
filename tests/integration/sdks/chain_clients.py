"""LangChain's models of three dialects, and LlamaIndex."""

from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from scenario import ASK_JSON, BROKEN, HELLO, LOOK, PNG, TOOL_WORDS, City, weather


class LangChain:
    """A chat model of LangChain: its steps are the same whatever the dialect."""

    def __init__(self, model: Any, image: dict[str, Any]) -> None:
        self._model = model
        self._image = image

    def chat(self) -> Any:
        return _facts(self._model.invoke(HELLO))

    def stream(self) -> Any:
        chunks = list(self._model.stream(HELLO))
        whole = chunks[0]
        for chunk in chunks[1:]:
            # Usages are added: more than one would show.
            whole += chunk
        return _facts(whole)

    def tools(self) -> Any:
        model = self._model.bind_tools([tool(weather)])
        first: AIMessage = model.invoke(TOOL_WORDS)
        (call,) = first.tool_calls
        answer = ToolMessage("sunny", tool_call_id=call["id"])
        after = model.invoke([HumanMessage(TOOL_WORDS), first, answer])
        return {"call": [call["name"], call["args"]], "after": bool(_text(after))}

    def vision(self) -> Any:
        return _facts(self._model.invoke([HumanMessage([{"type": "text", "text": LOOK}, self._image])]))

    def structured(self) -> Any:
        return self._model.with_structured_output(City, method="json_schema").invoke(ASK_JSON).model_dump()

    def broken(self) -> Any:
        return [_text(chunk) for chunk in self._model.stream(BROKEN)]


def _text(message: Any) -> str:
    return str(message.text)


def _facts(message: Any) -> dict[str, Any]:
    usage = message.usage_metadata
    return {"text": _text(message), "usage": [usage["input_tokens"], usage["output_tokens"]]}


def langchain_openai(address: str, key: str, model: str) -> LangChain:
    """Returns LangChain's model of OpenAI's dialect."""
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    return LangChain(ChatOpenAI(model=model, base_url=address, api_key=key, max_retries=0, stream_usage=True), url)


def langchain_anthropic(address: str, key: str, model: str) -> LangChain:
    """Returns LangChain's model of Anthropic's dialect."""
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    return LangChain(ChatAnthropic(model=model, base_url=address, api_key=key, max_retries=0, max_tokens=200), block)


def langchain_google(address: str, key: str, model: str) -> LangChain:
    """Returns LangChain's model of Gemini's dialect."""
    url = {"type": "image_url", "image_url": f"data:image/png;base64,{PNG}"}
    return LangChain(ChatGoogleGenerativeAI(model=model, base_url=address, google_api_key=key, max_retries=0), url)


class LlamaIndex:
    """LlamaIndex's model for whatever speaks OpenAI's dialect."""

    def __init__(self, address: str, key: str, model: str) -> None:
        self._model = OpenAILike(
            model=model,
            api_base=address,
            api_key=key,
            max_retries=0,
            is_chat_model=True,
            is_function_calling_model=True,
        )

    def chat(self) -> Any:
        return _index_facts(self._model.chat([ChatMessage(HELLO)]))

    def stream(self) -> Any:
        *_, last = self._model.stream_chat([ChatMessage(HELLO)], stream_options={"include_usage": True})
        return {"text": last.message.content}

    def tools(self) -> Any:
        offered = [FunctionTool.from_defaults(weather)]
        first = self._model.chat_with_tools(offered, user_msg=TOOL_WORDS)
        (call,) = self._model.get_tool_calls_from_response(first)
        answer = ChatMessage("sunny", role="tool", additional_kwargs={"tool_call_id": call.tool_id})
        after = self._model.chat_with_tools(offered, chat_history=[ChatMessage(TOOL_WORDS), first.message, answer])
        return {"call": [call.tool_name, call.tool_kwargs], "after": bool(after.message.content)}

    def vision(self) -> Any:
        image = ImageBlock(image=PNG.encode(), image_mimetype="image/png")
        return _index_facts(self._model.chat([ChatMessage(role="user", blocks=[TextBlock(text=LOOK), image])]))

    def structured(self) -> Any:
        reply = self._model.as_structured_llm(City).complete(ASK_JSON)
        return reply.raw.model_dump()

    def refused(self) -> Any:
        return _index_facts(self._model.chat([]))

    def broken(self) -> Any:
        return [chunk.delta for chunk in self._model.stream_chat([ChatMessage(BROKEN)])]


def _index_facts(reply: Any) -> dict[str, Any]:
    usage = reply.raw.usage
    return {"text": reply.message.content, "usage": [usage.prompt_tokens, usage.completion_tokens]}


CHAINS = {
    "langchain-openai": ("chat", langchain_openai),
    "langchain-anthropic": ("messages", langchain_anthropic),
    "langchain-google": ("contents", langchain_google),
    "llama-index": ("chat", LlamaIndex),
}
