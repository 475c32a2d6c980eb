// The AI SDK, as it comes, against a running Operator: send, regenerate, leave, resume, stop.

import assert from "node:assert/strict";
import { test } from "node:test";

import { DefaultChatTransport, readUIMessageStream } from "ai";

const url = process.env.OPERATOR_URL ?? "";
const headers = { Authorization: `Bearer ${process.env.OPERATOR_TOKEN ?? ""}` };
const transport = new DefaultChatTransport({
  api: `${url}/ai/chat`,
  headers,
  prepareReconnectToStreamRequest: ({ id }) => ({ api: `${url}/ai/chat/${id}/stream`, headers }),
});

/** @param {string} text @returns {import("ai").UIMessage} */
function says(text) {
  return { id: `m-${crypto.randomUUID()}`, role: "user", parts: [{ type: "text", text }] };
}

/** @param {string} chatId @param {import("ai").UIMessage[]} messages @param {object} [more] */
async function send(chatId, messages, more = {}) {
  return transport.sendMessages({
    chatId,
    messages,
    trigger: "submit-message",
    messageId: undefined,
    abortSignal: undefined,
    ...more,
  });
}

/** @param {ReadableStream<import("ai").UIMessageChunk>} stream */
async function read(stream) {
  /** @type {import("ai").UIMessage | undefined} */
  let last;
  for await (const message of readUIMessageStream({ stream })) last = message;
  assert.ok(last, "a stream has a message");
  return last;
}

/** @param {import("ai").UIMessage} message */
function textOf(message) {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}

/** @param {string} chatId @returns {Promise<import("ai").UIMessage[]>} */
async function history(chatId) {
  const answer = await fetch(`${url}/ai/chat/${chatId}/messages`, { headers });
  assert.equal(answer.status, 200);
  return answer.json();
}

/** @param {string} chatId */
async function replyOf(chatId) {
  const reply = (await history(chatId)).at(-1);
  assert.ok(reply, "the session has messages");
  return reply;
}

test("a message is answered, and the history has both", async () => {
  const id = crypto.randomUUID();
  const asked = says("hello from the AI SDK [[reasoning]]");
  const reply = await read(await send(id, [asked]));
  assert.match(textOf(reply), /You said: hello from the AI SDK/);
  assert.ok(reply.parts.some((part) => part.type === "reasoning"));
  const stored = await history(id);
  assert.deepEqual(stored.map((message) => message.role), ["user", "assistant"]);
  assert.equal((await replyOf(id)).id, reply.id);
  assert.equal(textOf(await replyOf(id)), textOf(reply));
});

test("the same message sent twice is asked once", async () => {
  const id = crypto.randomUUID();
  const asked = says("once");
  const [first, second] = [await read(await send(id, [asked])), await read(await send(id, [asked]))];
  assert.equal(first.id, second.id);
  assert.equal((await history(id)).length, 2);
});

test("a regenerate gives another reply, and the history has the newest", async () => {
  const id = crypto.randomUUID();
  const asked = says("again");
  const first = await read(await send(id, [asked]));
  const options = { trigger: "regenerate-message", messageId: first.id };
  const second = await read(await send(id, [asked], options));
  assert.notEqual(first.id, second.id);
  assert.equal((await history(id)).length, 2);
  assert.equal((await replyOf(id)).id, second.id);
});

test("a tool call is a part of the message", async () => {
  const reply = await read(await send(crypto.randomUUID(), [says("use one [[tool_call]]")]));
  assert.ok(reply.parts.some((part) => part.type === "dynamic-tool"));
});

test("a reply goes on when its client leaves, is resumed from its start, and stopped", async () => {
  const id = crypto.randomUUID();
  const leaving = new AbortController();
  const stream = await send(id, [says("slowly [[rate=20]] [[tokens=400]]")], {
    abortSignal: leaving.signal,
  });
  await stream.getReader().read();
  leaving.abort();
  const resumed = await transport.reconnectToStream({ chatId: id });
  assert.ok(resumed, "the reply is still being written");
  setTimeout(() => fetch(`${url}/ai/chat/${id}/stop`, { method: "POST", headers }), 500);
  const reply = await read(resumed);
  assert.match(textOf(reply), /You said: slowly/);
  assert.equal(await transport.reconnectToStream({ chatId: id }), null);
  const stored = await replyOf(id);
  assert.deepEqual(stored.metadata, { status: "cancelled" });
  assert.equal(textOf(stored), textOf(reply));
});

test("a failure is an error of the stream, or of the call", async () => {
  await assert.rejects(send(crypto.randomUUID(), [says("fails [[500]]")]));
  const stream = await send(crypto.randomUUID(), [says("breaks [[cut]] [[after=2]] [[rate=20]]")]);
  /** @type {unknown[]} */
  const errors = [];
  const read_ = readUIMessageStream({ stream, onError: (error) => errors.push(error) });
  for await (const _ of read_);
  assert.equal(errors.length, 1);
});
