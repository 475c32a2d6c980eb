// Runs against a real Operator: OPERATOR_URL, OPERATOR_TOKEN. The package's test command in the
// service's own suite starts one (tests/clients).
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { describe, mock, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { OperatorClient, OperatorError } from "../src/index.js";
import { CuttingProxy } from "./proxy.js";

const url = /** @type {string} */ (process.env.OPERATOR_URL);
const token = /** @type {string} */ (process.env.OPERATOR_TOKEN);
const transports = globalThis.WebSocket === undefined ? ["event-stream"] : ["websocket", "event-stream"];

/**
 * Opens a proxy that the test closes at its end.
 * @param {import("node:test").TestContext} t
 */
async function proxyOf(t) {
  const proxy = await CuttingProxy.open(url);
  t.after(() => proxy.close());
  return proxy;
}

/**
 * @param {string} transport
 * @param {string} [base]
 * @param {import("../src/index.js").ClientOptions} [options]
 */
function clientOf(transport, base = url, options = {}) {
  const chosen = transport === "websocket" ? options : { ...options, WebSocket: null };
  return new OperatorClient(base, { token, ...chosen });
}

/**
 * Has the stand-in send so many tokens, 50 a second.
 * @param {number} tokens
 */
function slow(tokens) {
  return { metadata: { standin: { tokens, rate: 50 } } };
}

/**
 * @param {import("../src/index.js").Session} session
 * @param {(state: import("../src/index.js").SessionState) => boolean} condition
 */
function until(session, condition) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("the state never came")), 60_000);
    const look = () => {
      if (!condition(session.state)) return;
      clearTimeout(late);
      stop();
      resolve(session.state);
    };
    const stop = session.subscribe(look);
    look();
  });
}

/** @param {string} transport */
function testsOf(transport) {
  test(`${transport}: a reply streams and equals the history`, async () => {
    const client = clientOf(transport);
    const session = client.session();
    const reply = await session.ask("Grüße 👩‍👩‍👧 漢字");
    let text = "";
    for await (const piece of reply) text += piece;
    assert.equal(reply.status, "complete");
    assert.equal(text, reply.text);
    const history = await client.history(session.sessionId);
    assert.deepEqual(
      history.messages.map((/** @type {any} */ m) => [m.role, m.content]),
      [["user", "Grüße 👩‍👩‍👧 漢字"], ["assistant", text]],
    );
    assert.deepEqual(
      session.state.messages.map((m) => [m.id, m.role, m.content, m.status]),
      history.messages.map((/** @type {any} */ m) => [m.id, m.role, m.content, m.status]),
    );
    await session.close();
  });

  test(`${transport}: cuts while streaming lose and double nothing`, async (t) => {
    const proxy = await proxyOf(t);
    const client = clientOf(transport, proxy.url);
    const session = client.session();
    const reply = await session.ask("cut me", slow(120));
    const cutting = setInterval(() => proxy.cut(), 300);
    await reply.done();
    clearInterval(cutting);
    assert.ok(proxy.cuts > 0);
    const stored = await clientOf(transport).reply(reply.id);
    assert.equal(reply.text, stored.content);
    assert.equal(reply.status, stored.status);
    await until(session, (state) => state.connection === "live");
    await session.close();
  });

  test(`${transport}: an opening that nobody answers is given up and tried again`, async (t) => {
    const proxy = await proxyOf(t);
    const first = clientOf(transport).session();
    await (await first.ask("be there")).done();
    await first.close();
    proxy.stalling = true;
    const client = clientOf(transport, proxy.url, { openTimeout: 1000 });
    const session = client.session(first.sessionId);
    while (proxy.sockets.size === 0) await sleep(10);
    proxy.stalling = false; // for the next one only: this one is never answered
    await until(session, (state) => state.connection === "live");
    await session.close();
  });

  test(`${transport}: a stopped reply keeps its text and says so`, async () => {
    const session = clientOf(transport).session();
    const reply = await session.ask("stop me", slow(400));
    await reply[Symbol.asyncIterator]().next();
    await session.stop(reply);
    await reply.done();
    assert.equal(reply.status, "cancelled");
    assert.ok(reply.text.length > 0);
    await session.close();
  });

  test(`${transport}: regenerate adds another reply to the same message`, async () => {
    const session = clientOf(transport).session();
    const first = await (await session.ask("twice, please")).done();
    const second = await (await session.regenerate(first.id)).done();
    assert.notEqual(first.id, second.id);
    assert.equal(second.messageId, first.messageId);
    assert.equal(session.state.messages.filter((m) => m.role === "user").length, 1);
    await session.close();
  });

  test(`${transport}: a signal keeps nothing of a message that arrived`, async () => {
    const session = clientOf(transport).session();
    const { signal } = new AbortController();
    await session.ask("hi", { signal });
    assert.deepEqual(getEventListeners(signal, "abort"), []);
    await session.close();
  });

  test(`${transport}: the same key twice is one reply`, async () => {
    const session = clientOf(transport).session();
    const key = crypto.randomUUID();
    const [one, two] = await Promise.all([session.ask("once", { key }), session.ask("once", { key })]);
    assert.equal(one.id, two.id);
    await one.done();
    await session.close();
  });

  test(`${transport}: a second watcher sees the text so far and then the rest`, async () => {
    const first = clientOf(transport).session();
    const reply = await first.ask("watch me", slow(60));
    await reply[Symbol.asyncIterator]().next();
    const second = clientOf(transport).session(first.sessionId);
    await until(second, (state) => state.messages.some((m) => m.id === reply.id && m.content !== ""));
    await reply.done();
    await until(second, (state) => state.messages.some((m) => m.id === reply.id && m.status === "complete"));
    assert.equal(second.state.messages.find((m) => m.id === reply.id)?.content, reply.text);
    await first.close();
    await second.close();
  });

  test(`${transport}: a deleted session ends with its reason`, async () => {
    const client = clientOf(transport);
    const session = client.session();
    await (await session.ask("short")).done();
    await client.deleteSession(session.sessionId);
    await until(session, (state) => state.connection === "closed");
    assert.ok(["session_deleted", "closed", "session_not_found"].includes(session.state.error?.code ?? ""));
    await session.close();
  });

  test(`${transport}: a session that is closed takes no message`, async () => {
    const session = clientOf(transport).session();
    await session.close();
    await assert.rejects(session.ask("too late"), { code: "closed" });
  });

  test(`${transport}: a wrong token ends at once and names it`, async () => {
    const client = new OperatorClient(url, transport === "websocket" ? { token: "wrong" } : { token: "wrong", WebSocket: null });
    const session = client.session("anybody");
    await assert.rejects(session.ask("hello"), /^OperatorError: the token is wrong/);
    await session.close();
  });

  test(`${transport}: too much missed is a resync to the newest messages`, async (t) => {
    const proxy = await proxyOf(t);
    const client = clientOf(transport, proxy.url);
    const session = client.session();
    await (await session.ask("first")).done();
    const missed = await session.ask("ends while nobody watches", slow(60));
    proxy.refusing = true;
    proxy.cut();
    const other = clientOf(transport);
    for (let n = 0; n < 110; n += 1) await other.chat(`m${n}`, { sessionId: session.sessionId, metadata: { standin: { rate: 0 } } });
    while ((await other.reply(missed.id)).status === "streaming") await sleep(50);
    proxy.refusing = false;
    await until(session, (state) => state.resyncs === 1 && state.connection === "live");
    assert.equal(session.state.messages.length, 50);
    assert.equal((await missed.done()).status, "complete");
    assert.ok(await session.loadOlder());
    assert.equal(session.state.messages.length, 224);
    await session.close();
  });

  test(`${transport}: a reply that is gone when the connection is back ends with an error`, async (t) => {
    const proxy = await proxyOf(t);
    const session = clientOf(transport, proxy.url).session();
    await (await session.ask("kept")).done();
    const lost = await session.ask("lost", slow(2000));
    const waiting = assert.rejects(lost.done(), (error) => error instanceof OperatorError && /_not_found$/.test(error.code));
    proxy.refusing = true;
    proxy.cut();
    await clientOf(transport).deleteSession(session.sessionId);
    proxy.refusing = false;
    await waiting;
    await session.close();
  });
}

test("a message that waits for a websocket goes beside the event stream that takes its place", async (t) => {
  const proxy = await proxyOf(t);
  proxy.websockets = false;
  const session = clientOf("websocket", proxy.url).session();
  const reply = await session.ask("through a proxy without websockets");
  assert.equal((await reply.done()).status, "complete");
  assert.equal(session.state.transport, "event-stream");
  assert.equal(session.state.messages.length, 2);
  await session.close();
});

for (const transport of transports) {
  // They wait far more than they work.
  describe(transport, { concurrency: true }, () => testsOf(transport));
}

/** Answers the first chat with ids and closes; the session is not there when the client is back. */
class LosingSocket {
  static OPEN = 1;
  static opened = 0;
  /** Called when the client is back. */
  static back = () => {};
  readyState = 1;
  /** @param {string | URL} url */
  constructor(url) {
    /** @type {((message: {data: string}) => void) | undefined} */
    this.onmessage = undefined;
    /** @type {((close: {code: number, reason: string}) => void) | undefined} */
    this.onclose = undefined;
    const first = LosingSocket.opened++ === 0;
    if (!first) LosingSocket.back();
    const after = Number(new URL(url).searchParams.get("after"));
    setImmediate(() => {
      this.#tell({ type: "ready", session_id: "s", seq: 0, epoch: null, version: "", heartbeat_s: 25 });
      if (!first) this.#tell({ type: "resumed", after, seq: 0 });
    });
  }

  /** @param {object} frame */
  #tell(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** @param {string} text */
  send(text) {
    this.#tell({ type: "result", id: JSON.parse(text).id, ok: true, data: { session_id: "s", message_id: 1, reply_id: 2 } });
    setImmediate(() => this.close(4003));
  }

  /** @param {number} code */
  close(code) {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }
}

test("websocket: a chat that is lost before an event told of it ends with an error", async () => {
  const problem = { error: "reply_not_found", detail: "there is no such reply" };
  const answers = [new Response("{}", { status: 503 }), new Response(JSON.stringify(problem), { status: 404 })];
  const client = new OperatorClient("http://operator", {
    fetch: async () => /** @type {Response} */ (answers.shift()),
    WebSocket: /** @type {any} */ (LosingSocket),
  });
  /** @type {number[]} */
  const pauses = [];
  const original = globalThis.setTimeout;
  const timer = mock.method(globalThis, "setTimeout", (/** @type {[() => void, number]} */ ...args) => {
    pauses.push(args[1]);
    return original(...args);
  });
  LosingSocket.back = () => timer.mock.restore();
  const session = client.session("s");
  const reply = await session.ask("lost");
  await assert.rejects(reply.done(), (error) => error instanceof OperatorError && error.code === "reply_not_found");
  await session.close();
  assert.equal(answers.length, 0);
  assert.ok(!pauses.some((milliseconds) => milliseconds < 1000), `it paused before it came back: ${pauses}`);
});

/**
 * Loses what it answered: the first connection shows a reply and closes, and each later one has
 * another reply with its id. Chats are answered before the resync comes, as after a switch-over.
 */
class ForgettingSocket {
  static OPEN = 1;
  static opened = 0;
  readyState = 1;
  constructor() {
    /** @type {((message: {data: string}) => void) | undefined} */
    this.onmessage = undefined;
    /** @type {((close: {code: number, reason: string}) => void) | undefined} */
    this.onclose = undefined;
    this.life = ForgettingSocket.opened++;
    setImmediate(() => {
      this.#tell({ type: "ready", session_id: "s", seq: 3, epoch: `e${this.life}`, version: "", heartbeat_s: 25 });
      if (this.life === 1) this.#resync("complete", "somebody else's");
    });
  }

  get #at() {
    return `2026-01-01T00:00:0${this.life}.000001Z`;
  }

  /**
   * @param {string} status
   * @param {string} content
   */
  #resync(status, content) {
    const message = { id: 2, role: "assistant", content, status, timestamp: this.#at, metadata: {}, tool_calls: [], reply_to: 1 };
    this.#tell({ type: "resync", seq: 3, epoch: `e${this.life}`, snapshot: { messages: [message], next_before: null } });
  }

  /** @param {object} frame */
  #tell(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** @param {string} text */
  send(text) {
    const frame = JSON.parse(text);
    if (this.life === 1) {
      this.close(4003);
      return;
    }
    this.#tell({ type: "result", id: frame.id, ok: true, data: { session_id: "s", message_id: 1, reply_id: 2, created_at: this.#at } });
    const begun = { reply_id: 2, message_id: 1, status: "streaming" };
    if (this.life === 0) {
      this.#tell({ type: "event", seq: 4, event: "reply.started", session_id: "s", ts: this.#at, data: begun });
      this.#tell({ type: "delta", reply_id: 2, offset: 0, end: 4, content: "lost", kind: "text" });
      setTimeout(() => this.close(4003), 20);
    } else {
      setTimeout(() => {
        this.#resync("streaming", "");
        const data = { reply_id: 2, message_id: 1, status: "complete", content: "new", length: 3, metadata: {} };
        this.#tell({ type: "event", seq: 4, event: "reply.completed", session_id: "s", ts: this.#at, data });
      }, 20);
    }
  }

  /** @param {number} code */
  close(code) {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }
}

test("websocket: a reply with the id of a lost one is another reply", async () => {
  const client = new OperatorClient("http://operator", { WebSocket: /** @type {any} */ (ForgettingSocket) });
  const session = client.session("s");
  const reply = await session.ask("lost");
  await assert.rejects(reply.done(), (error) => error instanceof OperatorError && error.code === "reply_not_found");
  assert.equal(reply.text, "lost");
  assert.deepEqual(session.state.messages.map((m) => m.content), ["somebody else's"]);
  const next = await session.ask("new"); // on the third connection, which has lost the second's too
  assert.notEqual(next, reply);
  await next.done();
  assert.equal(next.text, "new");
  assert.equal(reply.text, "lost");
  await session.close();
});

/** Never says that it has closed, as a browser's for a minute where the network is gone. */
class SilentSocket {
  static OPEN = 1;
  static opened = 0;
  readyState = 1;
  constructor() {
    SilentSocket.opened += 1;
    /** @type {((message: {data: string}) => void) | undefined} */
    this.onmessage = undefined;
    setImmediate(() => this.#tell());
  }

  #tell() {
    const ready = { type: "ready", session_id: "s", seq: 0, epoch: "e", version: "", heartbeat_s: 25 };
    this.onmessage?.({ data: JSON.stringify(ready) });
  }

  close() {
    this.readyState = 2;
    setImmediate(() => this.#tell());
  }
}

test("websocket: a connection whose network is gone is replaced without its answer", async () => {
  const client = new OperatorClient("http://operator", { WebSocket: /** @type {any} */ (SilentSocket) });
  const session = client.session("s");
  await until(session, (state) => state.connection === "live");
  session.reconnect();
  await until(session, (state) => state.connection === "offline");
  await until(session, (state) => state.connection === "live");
  assert.equal(SilentSocket.opened, 2);
  await session.close();
});

test("websocket: a new token counts for calls and for open sessions", async (t) => {
  const client = clientOf("websocket");
  const session = client.session();
  t.after(() => session.close());
  await until(session, (state) => state.connection === "live");
  assert.equal((await (await session.ask("still here")).done()).status, "complete");
  client.setToken("wrong");
  const { error } = await until(session, (state) => state.connection === "closed");
  assert.equal(error?.status, 4501);
  await assert.rejects(client.call("GET", "/operator/me"), { status: 403 });
  client.setToken(token);
  assert.equal((await client.call("GET", "/operator/me")).role, "operator");
});

test("HTTP: a wrong field is an OperatorError that names it", async () => {
  await assert.rejects(clientOf("event-stream").chat(""), (error) => {
    assert.ok(error instanceof OperatorError);
    assert.equal(error.code, "validation_error");
    assert.equal(error.status, 422);
    return true;
  });
});

test("HTTP: nobody there is unreachable, and may be tried again", async () => {
  const client = new OperatorClient("http://127.0.0.1:9", { token });
  await assert.rejects(client.chat("x"), (error) => {
    assert.ok(error instanceof OperatorError);
    return error.code === "unreachable" && error.retryable;
  });
});
