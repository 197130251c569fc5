// The openai npm package, unmodified, against the product at TOLLGATE_URL; prints what it saw as one JSON document.
import OpenAI, { toFile } from "openai";

const sent = [];
const counted = (url, init) => {
  sent.push(`${init?.method ?? "GET"} ${new URL(url).pathname}`);
  return fetch(url, init);
};
const options = { baseURL: process.env.TOLLGATE_URL, fetch: counted };
const client = new OpenAI({ ...options, apiKey: process.env.TOLLGATE_API_KEY });
const stranger = new OpenAI({ ...options, apiKey: "sk-tg-wrong" });
const model = "gpt-5-mini";
const messages = [{ role: "user", content: "Say hello" }];
const embedding = { model: "text-embedding-3-small", input: ["one", "another text"] };

async function failure(call) {
  const before = sent.length;
  try {
    await call();
  } catch (error) {
    return {
      class: error.constructor.name,
      status: error.status,
      code: error.code,
      type: error.type,
      param: error.param,
      message: error.message,
      request_id: error.requestID,
      should_retry: error.headers?.get("x-should-retry") ?? null,
      requests: sent.length - before,
    };
  }
  return { class: null };
}

async function streamed(more) {
  const chunks = [];
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true, ...more })) {
    chunks.push(chunk);
  }
  return {
    text: chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join(""),
    usages: chunks.filter((chunk) => chunk.usage).map((chunk) => chunk.usage),
    last_choices: chunks.at(-1).choices.length,
    finish: chunks.map((chunk) => chunk.choices[0]?.finish_reason).filter(Boolean),
  };
}

async function listed() {
  const found = [];
  for await (const one of client.models.list()) found.push(one);
  return found;
}

const seen = {};
seen.chat = await client.chat.completions.create({ model, messages });
seen.request_id = seen.chat._request_id;
seen.stream = await streamed({});
seen.stream_with_usage = await streamed({ stream_options: { include_usage: true } });
seen.helper = await client.chat.completions.stream({ model, messages }).finalContent();
seen.embeddings_float = await client.embeddings.create({ ...embedding, encoding_format: "float" });
seen.embeddings_base64 = await client.embeddings.create({ ...embedding, encoding_format: "base64" });
seen.embeddings = await client.embeddings.create(embedding);
seen.models = await listed();
seen.model = await client.models.retrieve(model);
seen.images = await client.images.generate({ model: "gpt-image-2", prompt: "a red kite", size: "1024x1024" });
seen.completion = await client.completions.create({ model, prompt: ["One.", "Two."], echo: true, max_tokens: 4 });
seen.completion_stream = [];
for await (const chunk of await client.completions.create({ model, prompt: "One.", max_tokens: 4, stream: true })) {
  seen.completion_stream.push(chunk);
}
seen.moderation = await client.moderations.create({ input: "violence" });
const spoken = await client.audio.speech.create({ model: "tts-1", voice: "alloy", input: "Hi", response_format: "wav" });
const sound = Buffer.from(await spoken.arrayBuffer());
seen.speech = { type: spoken.headers.get("content-type"), start: sound.subarray(0, 4).toString() };
const recording = async () => toFile(sound, "speech.wav");
seen.transcript = await client.audio.transcriptions.create({ model: "whisper-1", file: await recording() });
seen.transcript_events = [];
const heard = { model: "gpt-4o-transcribe", file: await recording(), stream: true };
for await (const event of await client.audio.transcriptions.create(heard)) seen.transcript_events.push(event);
seen.translation = await client.audio.translations.create({ model: "whisper-1", file: await recording() });
seen.unauthenticated = await failure(() => stranger.chat.completions.create({ model, messages }));
seen.unknown_model = await failure(() => client.chat.completions.create({ model: "no-such-model", messages }));
seen.unknown_model_detail = await failure(() => client.models.retrieve("no-such-model"));
seen.bad_request = await failure(() => client.chat.completions.create({ model, messages, n: 0 }));
seen.no_money = await failure(() =>
  client.chat.completions.create({ model, messages, max_completion_tokens: 60_000_000 }),
);
seen.no_money_stream = await failure(() =>
  client.chat.completions.create({ model, messages, max_completion_tokens: 60_000_000, stream: true }),
);
seen.sent = sent;
console.log(JSON.stringify(seen));
