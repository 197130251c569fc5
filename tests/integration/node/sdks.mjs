// Drives npm clients and prints what each saw of every model as JSON: by round, client, model and step.
// The argument is as that of ../sdks/clients.py; the steps and their facts are the same.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { GoogleGenAI } from "@google/genai";
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";

globalThis.AI_SDK_LOG_WARNINGS = false;
const HELLO = "Say hello";
const BROKEN = "[[sim:mid-error=3]] Say hello";
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const WHERE = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const CITY = {
  type: "object",
  properties: { city: { type: "string" }, people: { type: "integer" } },
  required: ["city", "people"],
  additionalProperties: false,
};

// The AI SDK: its steps are the same whatever the dialect.
function aiSdk(model) {
  const usual = { model, maxRetries: 0 };
  const facts = ({ text, finishReason, usage }) => ({
    text,
    finish: finishReason,
    usage: [usage.inputTokens, usage.outputTokens],
  });
  return {
    chat: async () => facts(await generateText({ ...usual, prompt: HELLO })),
    stream: async () => {
      const reply = streamText({ ...usual, prompt: HELLO, onError: () => {} });
      let text = "";
      for await (const delta of reply.textStream) text += delta;
      return facts({ text, finishReason: await reply.finishReason, usage: await reply.usage });
    },
    tools: async () => {
      const called = [];
      const weather = tool({
        description: "How it is",
        inputSchema: jsonSchema(WHERE),
        execute: async ({ city }) => (called.push(city), "sunny"),
      });
      const reply = streamText({ ...usual, prompt: "Use weather", tools: { weather }, stopWhen: stepCountIs(3) });
      return { called, after: Boolean(await reply.text) };
    },
    vision: async () => {
      const content = [
        { type: "text", text: "What is it?" },
        { type: "image", image: PNG, mediaType: "image/png" },
      ];
      return facts(await generateText({ ...usual, messages: [{ role: "user", content }] }));
    },
    structured: async () => {
      const output = Output.object({ schema: jsonSchema(CITY) });
      return (await generateText({ ...usual, prompt: "Where?", output })).output;
    },
    broken: async () => {
      let failed = null;
      const reply = streamText({ ...usual, prompt: BROKEN, onError: ({ error }) => (failed = error) });
      for await (const _ of reply.fullStream);
      throw failed;
    },
  };
}

function googleGenAi(address, key, model) {
  const models = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: address } }).models;
  const facts = (reply) => ({
    text: reply.text,
    finish: reply.candidates[0].finishReason,
    usage: [reply.usageMetadata.promptTokenCount, reply.usageMetadata.candidatesTokenCount],
  });
  return {
    chat: async () => facts(await models.generateContent({ model, contents: HELLO })),
    stream: async () => {
      let text = "";
      let last;
      for await (const chunk of await models.generateContentStream({ model, contents: HELLO })) {
        text += chunk.text ?? "";
        last = chunk;
      }
      return { ...facts(last), text };
    },
    tools: async () => {
      const declared = [{ name: "weather", description: "How it is", parametersJsonSchema: WHERE }];
      const config = { tools: [{ functionDeclarations: declared }] };
      const asked = { role: "user", parts: [{ text: "Use weather" }] };
      const first = await models.generateContent({ model, contents: [asked], config });
      const [call] = first.functionCalls;
      const answer = { functionResponse: { id: call.id, name: call.name, response: { result: "sunny" } } };
      const contents = [asked, first.candidates[0].content, { role: "user", parts: [answer] }];
      const after = await models.generateContent({ model, contents, config });
      return { call: [call.name, call.args], after: Boolean(after.text) };
    },
    vision: async () => {
      const parts = [{ text: "What is it?" }, { inlineData: { mimeType: "image/png", data: PNG } }];
      return facts(await models.generateContent({ model, contents: [{ role: "user", parts }] }));
    },
    structured: async () => {
      const config = { responseMimeType: "application/json", responseJsonSchema: CITY };
      return JSON.parse((await models.generateContent({ model, contents: "Where?", config })).text);
    },
    refused: async () => facts(await models.generateContent({ model, contents: [] })),
    broken: async () => {
      for await (const _ of await models.generateContentStream({ model, contents: BROKEN }));
    },
  };
}

const CLIENTS = {
  "ai-sdk-openai-chat": ["chat", (baseURL, apiKey, model) => aiSdk(createOpenAI({ baseURL, apiKey }).chat(model))],
  "ai-sdk-openai-responses": [
    "responses",
    (baseURL, apiKey, model) => aiSdk(createOpenAI({ baseURL, apiKey }).responses(model)),
  ],
  "ai-sdk-openai-compatible": [
    "chat",
    (baseURL, apiKey, model) =>
      aiSdk(
        createOpenAICompatible({ name: "x", baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true })(model),
      ),
  ],
  "ai-sdk-anthropic": [
    "messages",
    (address, apiKey, model) => aiSdk(createAnthropic({ baseURL: `${address}/v1`, apiKey })(model)),
  ],
  "ai-sdk-google": [
    "contents",
    (address, apiKey, model) => aiSdk(createGoogleGenerativeAI({ baseURL: `${address}/v1beta`, apiKey })(model)),
  ],
  "google-genai-node": ["contents", googleGenAi],
};

async function tried(step) {
  try {
    return await step();
  } catch (error) {
    return { raised: error == null ? null : error.name ?? "StreamError", status: error?.statusCode ?? error?.status ?? null, words: String(error?.message) };
  }
}

const found = {};
for (const [round, { addresses, models, key, clients }] of Object.entries(JSON.parse(process.argv[2]))) {
  found[round] = {};
  for (const [client, [dialect, make]] of Object.entries(CLIENTS)) {
    if (!(dialect in addresses) || (clients && !clients.includes(client))) continue;
    found[round][client] = {};
    for (const model of models[dialect]) {
      const seen = {};
      for (const [name, step] of Object.entries(make(addresses[dialect], key, model))) seen[name] = await tried(step);
      found[round][client][model] = seen;
    }
  }
}
console.log(JSON.stringify(found));
