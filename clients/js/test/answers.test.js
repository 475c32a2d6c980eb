// What answers in Operator's place: proxies, pages to sign in, networks that cut.
import assert from "node:assert/strict";
import http from "node:http";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { OperatorClient, OperatorError } from "../src/index.js";

/** @typedef {import("node:test").TestContext} TestContext */

/**
 * Starts a server that the test closes at its end; gives its address.
 * @param {TestContext} t
 * @param {http.RequestListener} answer
 */
async function serve(t, answer) {
  const server = http.createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}`;
}

/**
 * The calls of each kind, and a message beside an event stream.
 * @param {string} url
 * @returns {Record<string, () => Promise<unknown>>}
 */
function callsOf(url) {
  const client = new OperatorClient(url, { token: "secret", WebSocket: null });
  return {
    json: () => client.sessions(),
    nothing: () => client.deleteSession("s"),
    lines: () => client.exportSession("s"),
    bytes: () => client.screenshot("t"),
    message: async () => {
      const session = client.session("s");
      try {
        await session.ask("hi");
      } finally {
        await session.close();
      }
    },
  };
}

/**
 * @param {string} code
 * @param {number} status
 */
function operatorError(code, status) {
  return (/** @type {unknown} */ error) => {
    assert.ok(error instanceof OperatorError, String(error));
    assert.deepEqual([error.code, error.status], [code, status]);
    return true;
  };
}

for (const status of [302, 307]) {
  test(`a redirect with ${status} is not followed with the token`, async (t) => {
    /** @type {unknown[]} */
    const tokens = [];
    const elsewhere = await serve(t, (request, response) => {
      tokens.push(request.headers["x-vx11-token"]);
      response.end("{}");
    });
    const url = await serve(t, (_, response) => response.writeHead(status, { Location: `${elsewhere}/login` }).end());
    for (const call of Object.values(callsOf(url))) await assert.rejects(call, operatorError("no_operator", status));
    assert.deepEqual(tokens, []);
  });
}

for (const status of [200, 503]) {
  test(`a page with ${status} is no answer of Operator's`, async (t) => {
    const url = await serve(t, (_, response) => response.writeHead(status, { "Content-Type": "text/html" }).end("<html>"));
    for (const call of Object.values(callsOf(url))) await assert.rejects(call, operatorError("no_operator", status));
  });
}

test("an answer that is cut is unreachable, and its message is sent again under its key", async (t) => {
  /** @type {string[]} */
  const keys = [];
  const url = await serve(t, (request, response) => {
    if (request.method !== "POST") {
      response.writeHead(200, { "Content-Type": request.url?.endsWith("screenshot") ? "image/png" : "application/json", "Content-Length": 100 });
      response.write("{");
      setTimeout(() => request.socket.destroy(), 20);
      return;
    }
    let body = "";
    request.on("data", (data) => (body += data));
    request.on("end", () => {
      keys.push(JSON.parse(body).client_message_id);
      const answer = JSON.stringify({ session_id: "s", message_id: 1, reply_id: 2 });
      response.writeHead(202, { "Content-Type": "application/json", "Content-Length": answer.length });
      if (keys.length > 1) response.end(answer);
      else {
        response.write(answer.slice(0, 9));
        setTimeout(() => request.socket.destroy(), 20);
      }
    });
  });
  const { json, bytes, message } = callsOf(url);
  for (const call of [json, bytes]) await assert.rejects(/** @type {() => Promise<unknown>} */ (call), operatorError("unreachable", 0));
  await message?.();
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
});

test("a message that waits for an Operator out of reach ends with its session", async (t) => {
  let asked = 0;
  const url = await serve(t, (request) => {
    asked += 1;
    request.socket.destroy();
  });
  for (const signal of [undefined, new AbortController().signal]) {
    const session = new OperatorClient(url, { WebSocket: null }).session("s");
    const asking = assert.rejects(session.ask("hi", signal === undefined ? {} : { signal }), operatorError("closed", 0));
    const before = asked;
    while (asked < before + 4) await sleep(10);
    await session.close();
    await asking;
  }
  const after = asked;
  await sleep(1000); // nothing more is sent
  assert.equal(asked, after);
});

/** @type {[string, (seconds: number | undefined) => boolean][]} */
const PAUSES = [
  ["7", (seconds) => seconds === 7],
  ["Fri, 31 Dec 9999 23:59:59 GMT", (seconds) => seconds !== undefined && seconds > 1e9],
  ["Wed, 21 Oct 2015 07:28:00 GMT", (seconds) => seconds === 0],
  ["soon", (seconds) => seconds === undefined],
  ["-1", (seconds) => seconds === undefined],
  ["", (seconds) => seconds === undefined],
];

test("a pause that an answer asks for is a number or a date", async (t) => {
  for (const [asked, expected] of PAUSES) {
    for (const body of ["<html>", JSON.stringify({ error: "draining", detail: "" })]) {
      const url = await serve(t, (_, response) => response.writeHead(503, { "Retry-After": asked }).end(body));
      await assert.rejects(new OperatorClient(url).sessions(), (/** @type {OperatorError} */ error) => {
        assert.ok(expected(error.retryAfter), `${asked}: ${error.retryAfter}`);
        return true;
      });
    }
  }
});

test("a page whose network is back connects without a pause, and not after its session's end", { timeout: 60_000 }, async (t) => {
  /** @type {Set<() => void>} */
  const listeners = new Set();
  Object.assign(globalThis, {
    addEventListener: (/** @type {string} */ type, /** @type {() => void} */ listener) => type === "online" && listeners.add(listener),
    removeEventListener: (/** @type {string} */ _, /** @type {() => void} */ listener) => listeners.delete(listener),
  });
  t.after(() => Object.assign(globalThis, { addEventListener: undefined, removeEventListener: undefined }));
  let asked = 0;
  const url = await serve(t, (request) => {
    asked += 1;
    request.socket.destroy();
  });
  t.mock.timers.enable({ apis: ["setTimeout"] }); // a pause lasts for ever
  const session = new OperatorClient(url, { WebSocket: null }).session("s");
  while (asked < 3) {
    for (const listener of listeners) listener();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await session.close();
  assert.equal(listeners.size, 0);
});

test("a call without an answer's body gives undefined", async (t) => {
  const url = await serve(t, (_, response) => response.writeHead(204).end());
  assert.equal(await new OperatorClient(url).call("POST", "/ai/chat/s/stop"), undefined);
});

test("errors of the protocol of OpenAI keep their code", async (t) => {
  const error = { message: "no such model", type: "invalid_request_error", code: "model_not_found" };
  const url = await serve(t, (_, response) => response.writeHead(404, { "Content-Type": "application/json" }).end(JSON.stringify({ error })));
  await assert.rejects(new OperatorClient(url).call("GET", "/v1/models/m"), operatorError("model_not_found", 404));
});

for (const token of ["s\u2026t", "a\nb"]) {
  test(`the token ${JSON.stringify(token)}, which no header can hold, is refused and not told`, async () => {
    await assert.rejects(new OperatorClient("http://127.0.0.1:9", { token }).sessions(), (error) => {
      operatorError("forbidden", 403)(error);
      return !String(error).includes(token);
    });
  });
}
