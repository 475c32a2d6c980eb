import { OperatorError } from "./errors.js";
import { Reply } from "./reply.js";
import { SessionModel } from "./state.js";
import { checkSize, openEventStream, openWebSocket } from "./transports.js";

/** @import { Http } from "./http.js" */
/** @import { Message, SessionState } from "./state.js" */
/** @import { Connection } from "./transports.js" */

/** Milliseconds between attempts to come back: the first, and the longest. */
const PAUSE_MIN = 250;
const PAUSE_MAX = 10_000;
/** Milliseconds beyond two heartbeats after which a silent connection counts as lost. */
const GRACE = 10_000;
/** Milliseconds after which a connection is given up whose opening nobody answers. */
const OPEN_TIMEOUT = 10_000;
/** Milliseconds between two heartbeats, until Operator has said how many. */
const HEARTBEAT = 25_000;
/** The close code of a state that is another by now: the client comes back at once. */
const STATE_CHANGED = 4003;
/** Websockets that never opened, one after the other, before the event stream takes their place. */
const WEBSOCKET_TRIES = 2;

/**
 * @typedef {object} AskOptions
 * @property {string} [key] Idempotency key; a random one if it is left out. Asking again with the
 *   same key never makes a second reply, except to one that failed.
 * @property {Record<string, unknown>} [metadata]
 * @property {string} [providerHint]
 * @property {string} [contextSummary]
 * @property {AbortSignal} [signal] Gives up waiting; the message may be kept all the same.
 */

/**
 * One session, watched live. It connects at once, comes back by itself after every loss that
 * allows it, and resumes where it stood, so that its state is the session's own.
 */
export class Session {
  #http;
  #WebSocket;
  #openTimeout;
  #model;
  /** @type {Set<(state: SessionState) => void>} */
  #listeners;
  /** @type {Set<(frame: any) => void>} */
  #frameListeners;
  /** @type {Map<number, Reply>} */
  #replies;
  /** @type {Map<string, {frame: any, signal: AbortSignal | undefined, resolve: (data: any) => void, reject: (error: Error) => void}>} */
  #commands;
  /** @type {Error | null} What ended it. */
  #cause = null;
  /** @type {Set<AbortController>} Chats that are sent beside the event stream. */
  #posts = new Set();
  /** @type {Connection | null} */
  #connection;
  #ready;
  #failures;
  #pause;
  #ended;
  #telling;
  /** @type {number | undefined} */
  #heartbeat;
  /** @type {SessionState["transport"]} */
  #transport;
  /** @type {(() => void) | null} */
  #wake;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silence;
  /** @type {SessionState} */
  #state;
  #running;
  /** @type {string | undefined} The token that the connection was opened with, or got since. */
  #token;
  #offToken;
  /** A page's network is back: what was open before may be dead without a word. */
  #online = () => this.reconnect();

  /**
   * @param {Http} http
   * @param {string} sessionId
   * @param {{WebSocket?: typeof globalThis.WebSocket | null | undefined, openTimeout?: number | undefined}} [options]
   *   As OperatorClient has them.
   */
  constructor(http, sessionId, options = {}) {
    this.sessionId = sessionId;
    this.#http = http;
    this.#WebSocket = options.WebSocket === undefined ? globalThis.WebSocket : options.WebSocket;
    this.#openTimeout = options.openTimeout ?? OPEN_TIMEOUT;
    this.#model = new SessionModel(sessionId);
    this.#listeners = new Set();
    this.#frameListeners = new Set();
    this.#replies = new Map();
    this.#commands = new Map();
    this.#connection = null;
    this.#ready = false;
    this.#failures = 0;
    this.#pause = PAUSE_MIN;
    this.#ended = false;
    this.#telling = false;
    this.#heartbeat = undefined;
    this.#transport = this.#WebSocket == null ? "event-stream" : "websocket";
    this.#wake = null;
    this.#silence = undefined;
    this.#state = this.#picture("connecting", null);
    this.#token = undefined;
    this.#offToken = http.onToken(() => this.#renewToken());
    globalThis.addEventListener?.("online", this.#online); // Node has none
    this.#running = this.#run();
  }

  /** The session as it is known now. */
  get state() {
    return this.#state;
  }

  /**
   * Calls `listener` after each change; the return value ends that.
   * @param {(state: SessionState) => void} listener
   * @returns {() => void}
   */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Calls `listener` with each frame as it came; the return value ends that.
   * @param {(frame: any) => void} listener
   * @returns {() => void}
   */
  onFrame(listener) {
    this.#frameListeners.add(listener);
    return () => this.#frameListeners.delete(listener);
  }

  /**
   * Sends a message. Resolves once Operator keeps it, with the reply that then grows.
   * @param {string} message
   * @param {AskOptions} [options]
   * @returns {Promise<Reply>}
   */
  async ask(message, options = {}) {
    return this.#chat({ message }, options);
  }

  /**
   * Asks for another reply to a message; `messageId` is the message's or one of its replies'.
   * @param {number} messageId
   * @param {AskOptions} [options]
   * @returns {Promise<Reply>}
   */
  async regenerate(messageId, options = {}) {
    const metadata = { ...options.metadata, regenerate: messageId };
    return this.#chat({}, { ...options, metadata });
  }

  /**
   * Stops a reply, whichever process writes it; its text so far is kept.
   * @param {number | Reply} reply
   */
  async stop(reply) {
    const id = typeof reply === "number" ? reply : reply.id;
    await this.#http.json("POST", `operator/reply/${id}/cancel`);
  }

  /**
   * Loads a page of older messages into the state; false where there are none.
   * @param {{limit?: number}} [options]
   */
  async loadOlder(options = {}) {
    const before = this.#model.nextBefore;
    if (before === null) return false;
    const page = await this.#http.json(
      "GET",
      `operator/session/${encodeURIComponent(this.sessionId)}`,
      { query: { before, limit: options.limit } },
    );
    this.#model.prepend(page);
    this.#changed();
    return true;
  }

  /** Cuts the connection; it comes back at once and resumes. */
  reconnect() {
    this.#pause = PAUSE_MIN;
    this.#connection?.close();
    this.#wake?.();
  }

  /** Ends watching. Replies go on in Operator. */
  async close() {
    this.#end(new OperatorError("closed", "the session is no longer watched"), null);
    await this.#running;
  }

  // Asking.

  /**
   * @param {{message?: string}} what
   * @param {AskOptions} options
   */
  async #chat(what, options) {
    if (this.#cause !== null) throw this.#cause;
    options.signal?.throwIfAborted();
    const body = {
      ...what,
      client_message_id: options.key ?? randomKey(),
      metadata: options.metadata,
      provider_hint: options.providerHint,
      context_summary: options.contextSummary,
    };
    const result = await (this.#state.transport === "websocket"
      ? this.#command({ type: "chat", ...body }, options.signal)
      : this.#post(body, options.signal));
    return this.#follow(result.reply_id, result.message_id, result.created_at);
  }

  /**
   * @param {number} id
   * @param {number} messageId
   * @param {string} [begunAt]
   */
  async #follow(id, messageId, begunAt) {
    const known = this.#replies.get(id);
    if (known !== undefined && !known.began(begunAt)) this.#abandon(known, lost());
    const reply = this.#replies.get(id) ?? new Reply(id, messageId, begunAt);
    this.#replies.set(id, reply);
    const oldest = this.#model.messages()[0];
    if (this.#model.message(id) === undefined && oldest !== undefined && id < oldest.id) {
      // An idempotency key stands for a reply older than what is shown here.
      await this.#lookUp(reply);
    }
    // What is shown may be older than the result: a reply that is lost, until the resync comes.
    if (reply.began(this.#model.message(id)?.timestamp)) this.#feed(id);
    return reply;
  }

  /** @param {Reply} reply */
  async #lookUp(reply) {
    const view = await this.#http.json("GET", `operator/reply/${reply.id}`);
    if (!reply.began(view.created_at)) throw lost();
    if (this.#model.message(reply.id) !== undefined) return; // frames know it better by now
    reply.update({ ...view, reasoning: "", error: view.metadata?.error ?? null });
    if (reply.ended) this.#replies.delete(reply.id);
  }

  /**
   * Looks up the replies that wait and are not shown where the session stands now: a resync has the
   * newest messages only, and a database may have lost what nobody told of yet.
   */
  #recoverAll() {
    for (const [id, reply] of this.#replies) {
      if (this.#model.message(id) === undefined) this.#recover(reply);
      else this.#feed(id);
    }
  }

  /**
   * Looks up a reply; one that is not there any more ends with `reply_not_found`.
   * @param {Reply} reply
   */
  async #recover(reply) {
    for (let pause = PAUSE_MIN; !this.#ended; pause = Math.min(pause * 2, PAUSE_MAX)) {
      try {
        await this.#lookUp(reply);
        return;
      } catch (error) {
        if (!(error instanceof OperatorError) || !error.retryable) {
          this.#abandon(reply, /** @type {Error} */ (error));
          return;
        }
        await sleep(jitter(pause), undefined);
      }
    }
  }

  /**
   * Ends waiting for a reply of which nothing more will come.
   * @param {Reply} reply
   * @param {Error} cause
   */
  #abandon(reply, cause) {
    if (this.#replies.get(reply.id) === reply) this.#replies.delete(reply.id);
    reply.abandon(cause);
  }

  /**
   * @param {any} frame
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<any>}
   */
  #command(frame, signal) {
    const id = randomKey();
    frame.id = id;
    checkSize(frame);
    return orAborted(signal, (resolve, reject) => {
      this.#commands.set(id, { frame, signal, resolve, reject });
      if (this.#ready) this.#connection?.send?.(frame);
      return () => this.#commands.delete(id);
    });
  }

  /** Sends the chats that wait for a websocket beside the event stream that has taken its place. */
  #postWaiting() {
    for (const { frame, signal, resolve, reject } of this.#commands.values()) {
      const { type: _type, id: _id, ...body } = frame;
      void this.#post(body, signal).then(resolve, reject);
    }
    this.#commands.clear();
  }

  /**
   * Sends a chat beside the event stream, until the session ends.
   * @param {any} body
   * @param {AbortSignal | undefined} signal
   */
  async #post(body, signal) {
    const post = new AbortController();
    const abort = () => post.abort(signal?.reason);
    signal?.addEventListener("abort", abort);
    this.#posts.add(post);
    try {
      return await this.#postUntil(body, post.signal);
    } finally {
      this.#posts.delete(post);
      signal?.removeEventListener("abort", abort);
    }
  }

  /**
   * Sends a chat, again after a lost answer: its key makes that safe.
   * @param {any} body
   * @param {AbortSignal} signal
   */
  async #postUntil(body, signal) {
    for (let pause = PAUSE_MIN; ; pause = Math.min(pause * 2, PAUSE_MAX)) {
      try {
        const answer = await this.#http.json("POST", "operator/chat", {
          body: { ...body, session_id: this.sessionId },
          headers: { Prefer: "respond-async" },
          signal,
        });
        this.#wake?.(); // a session that this chat has made can be read now
        return answer;
      } catch (error) {
        if (!(error instanceof OperatorError) || error.code !== "unreachable") throw error;
        await sleep(jitter(pause), signal);
      }
    }
  }

  // The connection.

  async #run() {
    while (!this.#ended) {
      let code = 0;
      try {
        code = await this.#connect();
      } catch (error) {
        if (this.#retriesMissing(error)) {
          this.#recoverAll();
          await this.#sleep(PAUSE_MAX);
          continue;
        }
        this.#end(/** @type {Error} */ (error), /** @type {OperatorError} */ (error));
        return;
      }
      if (this.#ended) return;
      this.#show(this.#state.connection === "connecting" ? "connecting" : "offline");
      if (code === STATE_CHANGED && this.#pause === PAUSE_MIN) continue;
      await this.#sleep(jitter(this.#pause));
      this.#pause = Math.min(this.#pause * 2, PAUSE_MAX);
    }
  }

  /**
   * An event stream of a session that does not exist yet is a 404: it is tried again once a chat
   * has made the session.
   * @param {unknown} error
   */
  #retriesMissing(error) {
    return (
      this.#state.transport === "event-stream" &&
      error instanceof OperatorError &&
      error.code === "session_not_found" &&
      this.#model.epoch === null &&
      !this.#ended
    );
  }

  async #connect() {
    const position = { after: this.#model.seq, epoch: this.#model.epoch };
    const handlers = {
      onFrame: (/** @type {any} */ frame) => this.#take(frame),
      onLife: () => this.#listen(),
    };
    const WebSocket = this.#WebSocket;
    const plain = WebSocket === null || WebSocket === undefined;
    if (this.#state.connection === "offline") this.#show("resuming");
    this.#token = this.#http.token;
    this.#connection =
      plain || this.#failures >= WEBSOCKET_TRIES
        ? openEventStream(this.#http, this.sessionId, position, handlers)
        : openWebSocket(this.#http, this.sessionId, position, handlers, WebSocket);
    this.#transport = this.#connection.send === null ? "event-stream" : "websocket";
    this.#state = { ...this.#state, transport: this.#transport };
    if (this.#connection.send === null) this.#postWaiting();
    this.#listen(this.#openTimeout);
    try {
      return await this.#connection.closed;
    } finally {
      clearTimeout(this.#silence);
      if (!this.#ready) this.#failures += 1;
      this.#ready = false;
      this.#connection = null;
    }
  }

  /** @param {any} frame */
  #take(frame) {
    for (const listener of this.#frameListeners) listener(frame);
    if (frame.type === "ready") this.#begin(frame);
    else if (frame.type === "result") this.#answer(frame);
    else if (frame.type === "draining") this.#pause = frame.reconnect_in_ms;
    else {
      const effect = this.#model.take(frame);
      if (effect === "gap") this.#connection?.send?.(this.#resumeFrame());
      if (effect === "changed") this.#update(frame);
    }
  }

  /** @param {any} frame */
  #begin(frame) {
    this.#ready = true;
    this.#failures = 0;
    this.#pause = PAUSE_MIN;
    this.#heartbeat = frame.heartbeat_s * 1000;
    if (this.#model.epoch === null) this.#model.epoch = frame.epoch;
    this.#renewToken();
    for (const { frame: command } of this.#commands.values()) this.#connection?.send?.(command);
    if (frame.seq === this.#model.seq) this.#show("live");
  }

  /** Sends a token that is newer than the connection's; an event stream ends with its own, and comes back. */
  #renewToken() {
    const token = this.#http.token;
    if (!this.#ready || token === this.#token) return;
    this.#token = token;
    this.#connection?.send?.({ type: "auth", token });
  }

  /** @param {any} frame */
  #answer(frame) {
    const command = this.#commands.get(frame.id);
    if (command === undefined) return;
    this.#commands.delete(frame.id);
    if (frame.ok) command.resolve(frame.data ?? {});
    else {
      const { error, detail, retryable, retry_after: retryAfter } = frame.error;
      command.reject(new OperatorError(error, detail, { retryable, retryAfter, body: frame.error }));
    }
  }

  /** @param {any} frame */
  #update(frame) {
    if (this.#model.deleted) {
      const error = new OperatorError("session_deleted", "the session was deleted");
      this.#end(error, error);
      return;
    }
    const id = frame.reply_id ?? frame.data?.reply_id;
    if (id !== undefined) this.#feed(id);
    if (frame.type === "resumed" || frame.type === "resync") {
      this.#recoverAll();
      this.#show("live");
    } else this.#changed();
  }

  /** @param {number} id */
  #feed(id) {
    const message = this.#model.message(id);
    const reply = this.#replies.get(id);
    if (message === undefined || reply === undefined) return;
    if (!reply.began(message.timestamp)) {
      this.#abandon(reply, lost());
      return;
    }
    reply.update(message);
    if (message.status !== "streaming") this.#replies.delete(id);
  }

  #resumeFrame() {
    const { seq, epoch } = this.#model;
    return epoch === null ? { type: "resume", after: seq } : { type: "resume", after: seq, epoch };
  }

  /** A connection on which nothing comes for two heartbeats and more is given up. */
  #listen(within = 2 * (this.#heartbeat ?? HEARTBEAT) + GRACE) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#connection?.close(), within);
  }

  /**
   * @param {Error} cause Told to all who wait.
   * @param {OperatorError | null} shown
   */
  #end(cause, shown) {
    if (this.#ended) return;
    this.#ended = true;
    this.#cause = cause;
    this.#offToken();
    globalThis.removeEventListener?.("online", this.#online);
    clearTimeout(this.#silence);
    for (const command of this.#commands.values()) command.reject(cause);
    this.#commands.clear();
    for (const post of this.#posts) post.abort(cause);
    for (const reply of this.#replies.values()) reply.abandon(cause);
    this.#replies.clear();
    this.#connection?.close();
    this.#wake?.();
    this.#state = this.#picture("closed", shown);
    this.#tell();
  }

  /** @param {number} milliseconds */
  async #sleep(milliseconds) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
      if (this.#ended) this.#wake();
    });
    this.#wake = null;
  }

  // The state.

  /** @param {SessionState["connection"]} connection */
  #show(connection) {
    this.#state = this.#picture(connection, this.#state.error);
    this.#tell();
  }

  #changed() {
    this.#show(this.#state.connection);
  }

  /**
   * @param {SessionState["connection"]} connection
   * @param {OperatorError | null} error
   * @returns {SessionState}
   */
  #picture(connection, error) {
    const model = this.#model;
    return {
      sessionId: this.sessionId,
      connection,
      transport: this.#transport,
      seq: model.seq,
      epoch: model.epoch,
      resyncs: model.resyncs,
      messages: model.messages(),
      nextBefore: model.nextBefore,
      browserTasks: model.browserTasks(),
      error,
    };
  }

  /** Frames of one turn are told together. */
  #tell() {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      for (const listener of this.#listeners) listener(this.#state);
    });
  }
}

/** The error of a reply that the database has lost. */
function lost() {
  return new OperatorError("reply_not_found", "the database has lost the reply");
}

/**
 * @param {number} milliseconds
 * @returns {number}
 */
function jitter(milliseconds) {
  return milliseconds * (0.5 + Math.random());
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<void>}
 */
function sleep(milliseconds, signal) {
  return orAborted(signal, (resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    return () => clearTimeout(timer);
  });
}

/**
 * Waits for what `start` begins, or for the signal; a signal that lives longer keeps nothing of it.
 * @template T
 * @param {AbortSignal | undefined} signal
 * @param {(resolve: (value: T) => void, reject: (error: Error) => void) => () => void} start Gives what undoes it.
 * @returns {Promise<T>}
 */
async function orAborted(signal, start) {
  signal?.throwIfAborted();
  /** @type {() => void} */
  let abort = () => {};
  try {
    return await new Promise((resolve, reject) => {
      const undo = start(resolve, reject);
      abort = () => {
        undo();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort);
    });
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** `crypto.randomUUID` is missing on pages that are not served over TLS. */
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
