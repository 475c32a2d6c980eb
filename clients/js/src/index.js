/**
 * Client of Operator for browsers and Node: calls over HTTP, and sessions that are watched live,
 * resume by themselves and lose nothing.
 * @module
 */

import { Http } from "./http.js";
import { Session } from "./session.js";

export { OperatorError } from "./errors.js";
export { Reply } from "./reply.js";
export { Session } from "./session.js";
export { EventStreamDecoder } from "./sse.js";

/**
 * @typedef {import("./state.js").SessionState} SessionState
 * @typedef {import("./state.js").Message} Message
 * @typedef {import("./state.js").ReplyStatus} ReplyStatus
 * @typedef {import("./session.js").AskOptions} AskOptions
 */

/**
 * @typedef {object} ClientOptions
 * @property {string} [token]
 * @property {typeof globalThis.fetch} [fetch]
 * @property {typeof globalThis.WebSocket | null} [WebSocket] null for the event stream. Node 20
 *   has no WebSocket of its own, so the event stream is used there.
 * @property {number} [openTimeout] Milliseconds after which a session's connection is given up whose
 *   opening nobody answers; 10,000 if it is left out.
 */

/**
 * @typedef {object} ChatOptions
 * @property {string} [sessionId]
 * @property {string} [userId]
 * @property {string} [key] Idempotency key.
 * @property {Record<string, unknown>} [metadata]
 * @property {string} [providerHint]
 * @property {string} [contextSummary]
 * @property {AbortSignal} [signal] Gives up waiting; the reply goes on.
 */

export class OperatorClient {
  #http;
  #options;

  /**
   * @param {string | URL} url Operator's address, such as `http://127.0.0.1:8011`.
   * @param {ClientOptions} [options]
   */
  constructor(url, options = {}) {
    this.#http = new Http(url, options);
    this.#options = options;
  }

  /**
   * Replaces the token: for calls from now on, and of open sessions, which a signed token (JWT)
   * keeps open for as long as it is valid.
   * @param {string} token Of the same caller as the one before.
   */
  setToken(token) {
    this.#http.setToken(token);
  }

  /**
   * Watches a session, which need not exist yet; without an id a new one.
   * @param {string} [sessionId]
   */
  session(sessionId = newSessionId()) {
    return new Session(this.#http, sessionId, this.#options);
  }

  /**
   * Asks once and waits for the whole reply.
   * @param {string} message
   * @param {ChatOptions} [options]
   * @returns {Promise<any>} The answer of `POST /operator/chat`.
   */
  chat(message, options = {}) {
    return this.#http.json("POST", "operator/chat", {
      body: {
        message,
        session_id: options.sessionId,
        user_id: options.userId,
        client_message_id: options.key,
        metadata: options.metadata,
        provider_hint: options.providerHint,
        context_summary: options.contextSummary,
      },
      signal: options.signal,
    });
  }

  /**
   * Lists sessions, newest first.
   * @param {{userId?: string | undefined, q?: string | undefined, limit?: number | undefined, cursor?: string | undefined}} [options]
   * @returns {Promise<{sessions: any[], next_cursor: string | null}>}
   */
  sessions({ userId, ...query } = {}) {
    return this.#http.json("GET", "operator/sessions", { query: { ...query, user_id: userId } });
  }

  /**
   * Reads a page of a session's history, oldest message first.
   * @param {string} sessionId
   * @param {{before?: number, limit?: number}} [query]
   * @returns {Promise<any>}
   */
  history(sessionId, query = {}) {
    return this.#http.json("GET", sessionPath(sessionId), { query });
  }

  /**
   * Deletes a session and all that belongs to it.
   * @param {string} sessionId
   */
  async deleteSession(sessionId) {
    await this.#http.send("DELETE", sessionPath(sessionId), { media: "" });
  }

  /**
   * Exports a session as JSON Lines; the body is a stream.
   * @param {string} sessionId
   */
  exportSession(sessionId) {
    return this.#http.send("GET", `${sessionPath(sessionId)}/export`, { media: "application/x-ndjson" });
  }

  /**
   * @param {number} replyId
   * @returns {Promise<any>}
   */
  reply(replyId) {
    return this.#http.json("GET", `operator/reply/${replyId}`);
  }

  /**
   * @param {number} replyId
   * @returns {Promise<any>}
   */
  cancelReply(replyId) {
    return this.#http.json("POST", `operator/reply/${replyId}/cancel`);
  }

  /**
   * Opens a page in Operator's browser. Waits for the task's end where `wait` (seconds) allows.
   * @param {{url: string, session_id?: string, wait?: number} & Record<string, unknown>} task
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<any>}
   */
  browserTask(task, options = {}) {
    return this.#http.json("POST", "operator/browser/task", { body: task, signal: options.signal });
  }

  /**
   * @param {string} taskId
   * @returns {Promise<any>}
   */
  browserTaskStatus(taskId) {
    return this.#http.json("GET", `operator/browser/task/${encodeURIComponent(taskId)}`);
  }

  /**
   * @param {Record<string, unknown>} [query] `session_id`, `user_id`, `status`, `limit`, `cursor`.
   * @returns {Promise<{tasks: any[], next_cursor: string | null}>}
   */
  browserTasks(query = {}) {
    return this.#http.json("GET", "operator/browser/tasks", { query });
  }

  /**
   * @param {string} taskId
   * @returns {Promise<any>}
   */
  cancelBrowserTask(taskId) {
    return this.#http.json("POST", `operator/browser/task/${encodeURIComponent(taskId)}/cancel`);
  }

  /**
   * Fetches a task's screenshot, a PNG.
   * @param {string} taskId
   */
  async screenshot(taskId) {
    const path = `operator/browser/task/${encodeURIComponent(taskId)}/screenshot`;
    return this.#http.blob("GET", path, "image/png");
  }

  /**
   * Calls any other route, as the published document (`/openapi.json`) describes it.
   * @param {string} method
   * @param {string} path Such as `/operator/resources`.
   * @param {{query?: Record<string, unknown>, body?: unknown, signal?: AbortSignal}} [options]
   * @returns {Promise<any>}
   */
  call(method, path, options) {
    return this.#http.json(method, path.replace(/^\//, ""), options);
  }
}

/** @param {string} sessionId */
function sessionPath(sessionId) {
  return `operator/session/${encodeURIComponent(sessionId)}`;
}

function newSessionId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
