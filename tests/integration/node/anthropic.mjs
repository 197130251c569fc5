// Drives the anthropic npm package against TOLLGATE_URL and prints what it saw as JSON.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({
  baseURL: process.env.TOLLGATE_URL,
  apiKey: process.env.TOLLGATE_API_KEY,
  maxRetries: 0,
});
const tools = [
  {
    name: "weather",
    description: "How it is",
    input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
];
const hello = [{ role: "user", content: "Say hello" }];
const seen = {};

async function failure(call) {
  try {
    await call();
    return null;
  } catch (error) {
    return { name: error.constructor.name, status: error.status, type: error.error?.error?.type, id: error.requestID };
  }
}

for (const model of process.argv.slice(2)) {
  const message = await client.messages.create({ model, max_tokens: 200, messages: hello });
  const stream = client.messages.stream({ model, max_tokens: 200, messages: hello });
  let text = "";
  stream.on("text", (delta) => (text += delta));
  const streamed = await stream.finalMessage();
  const called = await client.messages
    .stream({ model, max_tokens: 200, tools, messages: [{ role: "user", content: "Use weather" }] })
    .finalMessage();
  const call = called.content.find((block) => block.type === "tool_use");
  const answered = await client.messages.create({
    model,
    max_tokens: 200,
    tools,
    messages: [
      { role: "user", content: "Use weather" },
      { role: "assistant", content: called.content },
      { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "sunny" }] },
    ],
  });
  seen[model] = {
    message,
    text,
    streamed,
    call,
    answered: answered.stop_reason,
    missing: await failure(() => client.messages.create({ model: "no-such-model", max_tokens: 9, messages: hello })),
    refused: await failure(() => client.messages.create({ model, max_tokens: 9, messages: [] })),
    broken: await failure(() =>
      client.messages
        .stream({ model, max_tokens: 99, messages: [{ role: "user", content: "[[sim:mid-error=3]] hi" }] })
        .finalMessage(),
    ),
  };
}
console.log(JSON.stringify(seen));
