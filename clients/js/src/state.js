/**
 * @typedef {"streaming" | "complete" | "failed" | "cancelled" | "interrupted"} ReplyStatus
 *
 * @typedef {object} Message A message as the session shows it.
 * @property {number} id
 * @property {"user" | "assistant" | "system" | "tool"} role
 * @property {string} content The text so far, where `status` is "streaming".
 * @property {string} reasoning The model's reasoning; live only, it is not stored.
 * @property {ReplyStatus} status
 * @property {string} timestamp RFC 3339, UTC.
 * @property {Record<string, any>} metadata
 * @property {any[]} toolCalls
 * @property {number | null} replyTo The message that a reply answers.
 * @property {string | null} error The error code of a reply that failed.
 *
 * @typedef {"connecting" | "live" | "resuming" | "offline" | "closed"} Connection
 *
 * @typedef {object} SessionState An immutable picture of a session; a new object after each change.
 * @property {string} sessionId
 * @property {Connection} connection
 * @property {"websocket" | "event-stream"} transport
 * @property {number} seq Number of the newest event.
 * @property {string | null} epoch
 * @property {number} resyncs How often the state was replaced because too much was missed.
 * @property {readonly Message[]} messages Oldest first.
 * @property {number | null} nextBefore Where older messages begin; null where there are none.
 * @property {Readonly<Record<string, any>>} browserTasks By task id.
 * @property {import("./errors.js").OperatorError | null} error Why the connection ended for good.
 */

/** @type {ReadonlySet<string>} */
const ENDINGS = new Set([
  "reply.completed",
  "reply.failed",
  "reply.cancelled",
  "reply.interrupted",
]);

/**
 * The text of one reply and kind. `end` counts code points of the stored text: it comes with the
 * frames, because a string's length in JavaScript counts UTF-16 units.
 */
class Text {
  constructor() {
    this.text = "";
    this.end = 0;
  }

  /**
   * Appends a delta; false where it does not follow on what is known.
   * @param {{offset: number, end: number, content: string}} delta
   */
  append(delta) {
    if (delta.offset !== this.end) return false;
    this.text += delta.content;
    this.end = delta.end;
    return true;
  }
}

/** What is known of a session: frames in, pictures out. Knows nothing of connections. */
export class SessionModel {
  /** @type {Map<number, Message>} */
  #messages;
  /** @type {number[]} */
  #order;
  /** @type {Map<string, Text>} */
  #texts;
  /** @type {Record<string, any>} */
  #tasks;

  /** @param {string} sessionId */
  constructor(sessionId) {
    this.sessionId = sessionId;
    this.seq = 0;
    /** @type {string | null} */
    this.epoch = null;
    this.resyncs = 0;
    /** @type {number | null} */
    this.nextBefore = null;
    this.deleted = false;
    this.#messages = new Map();
    this.#order = [];
    this.#texts = new Map();
    this.#tasks = {};
  }

  /** The messages, oldest first. */
  messages() {
    return this.#order.map((id) => /** @type {Message} */ (this.#messages.get(id)));
  }

  /** @param {number} id */
  message(id) {
    return this.#messages.get(id);
  }

  browserTasks() {
    return this.#tasks;
  }

  /**
   * Takes a frame of the server.
   * @param {any} frame
   * @returns {"changed" | "unchanged" | "gap"} "gap" where a delta does not fit: resume.
   */
  take(frame) {
    switch (frame.type) {
      case "event":
        return this.#event(frame);
      case "delta":
        return this.#delta(frame);
      case "reply.snapshot":
        return this.#snapshot(frame);
      case "resync":
        return this.#resync(frame);
      case "resumed":
        this.seq = Math.max(this.seq, frame.seq);
        return "changed";
      default:
        return "unchanged";
    }
  }

  /**
   * Adds a page of older messages.
   * @param {{messages: any[], next_before: number | null}} page
   */
  prepend(page) {
    for (const message of page.messages) {
      if (!this.#messages.has(message.id)) this.#put(message.id, fromHistory(message));
    }
    this.nextBefore = page.next_before;
  }

  /** @param {any} frame */
  #event(frame) {
    if (frame.seq !== undefined) {
      if (frame.seq <= this.seq) return "unchanged";
      this.seq = frame.seq;
    }
    const { data } = frame;
    if (frame.event === "session.created") {
      this.epoch = data.epoch ?? null;
    } else if (frame.event === "message.created") {
      this.#put(data.message_id ?? data.id, {
        role: data.role,
        content: data.content,
        status: "complete",
        timestamp: data.timestamp ?? data.created_at ?? frame.ts,
        metadata: data.metadata ?? {},
      });
    } else if (frame.event === "reply.started") {
      this.#put(data.reply_id, {
        role: "assistant",
        status: "streaming",
        timestamp: frame.ts,
        replyTo: data.message_id ?? null,
      });
    } else if (ENDINGS.has(frame.event)) {
      this.#put(data.reply_id, {
        role: "assistant",
        content: data.content,
        status: data.status,
        metadata: data.metadata ?? {},
        error: data.error ?? data.metadata?.error ?? null,
        replyTo: data.message_id ?? null,
      });
      this.#texts.delete(`${data.reply_id} text`);
      this.#texts.delete(`${data.reply_id} reasoning`);
    } else if (frame.event === "message.deleted") {
      this.#messages.delete(data.message_id);
      this.#order = this.#order.filter((id) => id !== data.message_id);
    } else if (frame.event === "session.deleted") {
      this.deleted = true;
    } else if (frame.event === "tool_call.recorded") {
      const message = this.#messages.get(data.message_id);
      if (message !== undefined) {
        const others = message.toolCalls.filter((call) => call.id !== data.id);
        this.#put(message.id, { toolCalls: [...others, data] });
      }
    } else if (frame.event.startsWith("browser_task.")) {
      this.#tasks = { ...this.#tasks, [data.task_id]: data };
    }
    return "changed";
  }

  /** @param {any} frame */
  #delta(frame) {
    const message = this.#messages.get(frame.reply_id);
    if (message !== undefined && message.status !== "streaming") return "unchanged";
    const text = this.#text(frame.reply_id, frame.kind);
    if (!text.append(frame)) return "gap";
    this.#show(frame.reply_id, frame.kind, text);
    return "changed";
  }

  /** @param {any} frame */
  #snapshot(frame) {
    const message = this.#messages.get(frame.reply_id);
    if (message !== undefined && message.status !== "streaming") return "unchanged";
    const text = this.#text(frame.reply_id, frame.kind);
    text.text = frame.text;
    text.end = frame.end;
    this.#show(frame.reply_id, frame.kind, text);
    return "changed";
  }

  /**
   * @param {any} frame
   * @returns {"changed"}
   */
  #resync(frame) {
    this.seq = frame.seq;
    this.epoch = frame.epoch;
    this.resyncs += 1;
    this.#messages.clear();
    this.#order = [];
    this.#texts.clear();
    this.#tasks = {};
    this.prepend(frame.snapshot);
    return "changed";
  }

  /**
   * @param {number} id
   * @param {string} kind
   */
  #text(id, kind) {
    const key = `${id} ${kind}`;
    let text = this.#texts.get(key);
    if (text === undefined) this.#texts.set(key, (text = new Text()));
    return text;
  }

  /**
   * @param {number} id
   * @param {string} kind
   * @param {Text} text
   */
  #show(id, kind, text) {
    this.#put(id, kind === "text" ? { content: text.text } : { reasoning: text.text });
  }

  /**
   * @param {number} id
   * @param {Partial<Message>} fields
   */
  #put(id, fields) {
    const known = this.#messages.get(id) ?? {
      id,
      role: /** @type {const} */ ("assistant"),
      content: "",
      reasoning: "",
      status: /** @type {const} */ ("streaming"),
      timestamp: "",
      metadata: {},
      toolCalls: [],
      replyTo: null,
      error: null,
    };
    if (!this.#messages.has(id)) {
      const place = this.#order.findLastIndex((other) => other < id) + 1;
      this.#order.splice(place, 0, id);
    }
    this.#messages.set(id, { ...known, ...fields });
  }
}

/**
 * @param {any} message
 * @returns {Message}
 */
function fromHistory(message) {
  return {
    id: message.id,
    role: message.role,
    content: message.content,
    reasoning: "",
    status: message.status,
    timestamp: message.timestamp,
    metadata: message.metadata ?? {},
    toolCalls: message.tool_calls ?? [],
    replyTo: message.reply_to ?? null,
    error: message.metadata?.error ?? null,
  };
}
