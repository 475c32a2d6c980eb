// OpenAI's SDK for Node, as it comes, against a running Operator.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI, { AuthenticationError, NotFoundError } from "openai";

const url = process.env.OPERATOR_URL ?? "";
const apiKey = process.env.OPERATOR_TOKEN ?? "";
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey });
const model = "operator";
const tool = {
  type: "function",
  function: { name: "standin_tool", parameters: { type: "object", properties: {} } },
};

const says = (content) => [{ role: "user", content }];
const session = () => `node-${crypto.randomUUID()}`;

/** The messages of a session, as Operator has them. */
async function history(id) {
  const answer = await fetch(`${url}/operator/session/${id}`, {
    headers: { Authorization: `Bearer ${apiKey}` },
  });
  assert.equal(answer.status, 200);
  return (await answer.json()).messages;
}

/** The status of a session's reply, once it has ended. */
async function ended(id) {
  for (;;) {
    const reply = (await history(id)).at(-1);
    if (reply.status !== "streaming") return reply.status;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("models are listed", async () => {
  const names = [];
  for await (const one of client.models.list()) names.push(one.id);
  assert.equal(names[0], model);
  assert.equal((await client.models.retrieve(names[1])).id, names[1]);
});

test("a completion is whole, or a stream that adds up to the same", async () => {
  const messages = says("hello from Node");
  const whole = await client.chat.completions.create({ model, messages });
  assert.equal(whole.choices[0].message.content, "[stand-in] You said: hello from Node");
  const stream = client.chat.completions.stream({
    model,
    messages,
    stream_options: { include_usage: true },
  });
  const streamed = await stream.finalChatCompletion();
  assert.equal(streamed.choices[0].message.content, whole.choices[0].message.content);
  assert.equal(streamed.choices[0].finish_reason, "stop");
  assert.ok((await stream.totalUsage()).completion_tokens > 0);
});

test("a picture is taken, a tool is called and answered", async () => {
  const picture = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };
  const messages = says([{ type: "text", text: "what is this? [[only_tool_call]]" }, picture]);
  const stream = client.chat.completions.stream({ model, messages, tools: [tool] });
  const { message, finish_reason: reason } = (await stream.finalChatCompletion()).choices[0];
  assert.equal(reason, "tool_calls");
  const [call] = message.tool_calls;
  assert.equal(call.function.name, tool.function.name);
  JSON.parse(call.function.arguments);
  const answered = await client.chat.completions.create({
    model,
    messages: [...messages, message, { role: "tool", tool_call_id: call.id, content: "a cat" }],
    tools: [tool],
  });
  assert.equal(answered.choices[0].message.content, "[stand-in] You said: a cat");
});

test("leaving a stream stops the reply", async () => {
  const id = session();
  const stream = await client.chat.completions.create(
    { model, messages: says("slowly [[rate=20]] [[tokens=400]]"), stream: true },
    { headers: { "X-Operator-Session": id } },
  );
  for await (const chunk of stream) if (chunk.choices[0].delta.content) break;
  assert.equal(await ended(id), "cancelled");
});

test("a response is streamed, resumed after an event, continued and deleted", async () => {
  const input = "count for me [[rate=100]] [[tokens=60]]";
  let identity, seen, text = "";
  for await (const event of await client.responses.create({ input, stream: true, background: true })) {
    seen = event.sequence_number;
    if (event.type === "response.created") identity = event.response.id;
    if (event.type === "response.output_text.delta") text += event.delta;
    if (text.length > 40) break;
  }
  const rest = await client.responses.retrieve(identity, { stream: true, starting_after: seen });
  for await (const event of rest) {
    assert.ok(event.sequence_number > seen);
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  const stored = await client.responses.retrieve(identity);
  assert.equal(stored.status, "completed");
  assert.equal(stored.output_text, text);
  const next = await client.responses.create({ input: "and on", previous_response_id: identity });
  assert.equal(next.output_text, "[stand-in] You said: and on");
  await client.responses.delete(next.id);
  await assert.rejects(client.responses.retrieve(next.id), NotFoundError);
});

test("the stream helper goes on with a response that another reader began", async () => {
  const begun = await client.responses.create({
    input: "slowly [[rate=100]] [[tokens=40]]",
    background: true,
  });
  const final = await client.responses.stream({ response_id: begun.id }).finalResponse();
  assert.equal(final.output_text, (await client.responses.retrieve(begun.id)).output_text);
});

test("failures are the SDK's own errors", async () => {
  const wrong = new OpenAI({ baseURL: `${url}/v1`, apiKey: "wrong" });
  await assert.rejects(wrong.models.list(), AuthenticationError);
  await assert.rejects(
    client.chat.completions.create({ model: "no-such", messages: says("x") }),
    (error) => error instanceof NotFoundError && error.code === "model_not_found",
  );
  const cut = await client.chat.completions.create({
    model,
    messages: says("breaks [[cut]] [[after=2]] [[rate=20]]"),
    stream: true,
  });
  await assert.rejects(async () => {
    for await (const _ of cut);
  }, (error) => error.code === "switch_error");
});

test("a turn with tools is added to a conversation, listed, read and deleted", async () => {
  const { items } = client.conversations;
  const { id } = await client.conversations.create({ items: [] });
  const turn = [
    { type: "message", role: "user", content: "Is it raining?" },
    { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gAAAAAB" },
    { type: "function_call", call_id: "c-1", name: "standin_tool", arguments: "{}" },
    { type: "function_call_output", call_id: "c-1", output: "it rains" },
    { type: "message", role: "assistant", content: "It is." },
  ];
  const added = await items.create(id, { items: turn, include: ["reasoning.encrypted_content"] });
  assert.deepEqual(
    added.data.map((item) => item.type),
    turn.map((item) => item.type),
  );
  const listed = [];
  for await (const item of items.list(id, { order: "asc", limit: 2 })) listed.push(item);
  assert.deepEqual(listed, added.data);
  assert.deepEqual(await items.retrieve(listed[1].id, { conversation_id: id }), listed[1]);
  const answer = await client.responses.create({ conversation: id, input: "And now?" });
  assert.equal(answer.output_text, "[stand-in] You said: And now?");
  assert.equal((await items.delete(listed[3].id, { conversation_id: id })).id, id);
  await assert.rejects(items.retrieve(listed[3].id, { conversation_id: id }), NotFoundError);
});
