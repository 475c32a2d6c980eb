/** @import { Message, ReplyStatus } from "./state.js" */

/**
 * A reply as it grows. Iterate it for its text in pieces, or await `done()` for its end.
 *
 * `text` is right at every moment. Pieces only ever add text: where a resumed reply turned out
 * shorter or other than what was shown, `text` says what it is, and nothing is told twice.
 */
export class Reply {
  /** @type {Error | null} */
  #lost;
  /** @type {Set<() => void>} */
  #waiting;

  /**
   * @param {number} id
   * @param {number | null} messageId The message that it answers.
   * @param {string | null} [begunAt] When it began, as RFC 3339.
   */
  constructor(id, messageId, begunAt = null) {
    this.id = id;
    this.messageId = messageId;
    this.begunAt = begunAt;
    this.text = "";
    this.reasoning = "";
    /** @type {ReplyStatus} */
    this.status = "streaming";
    /** @type {Record<string, any>} */
    this.metadata = {};
    /** @type {string | null} */
    this.error = null;
    this.#lost = null;
    this.#waiting = new Set();
  }

  /** Whether its last event has come. */
  get ended() {
    return this.status !== "streaming";
  }

  /**
   * Takes the time at which the reply of this id began; false where it is another reply. Only a
   * reply that a database has lost leaves its id to another one.
   * @param {string | null | undefined} at
   */
  began(at) {
    if (!at) return true;
    this.begunAt ??= at;
    return at === this.begunAt;
  }

  /** @param {Message} message */
  update(message) {
    this.text = message.content;
    this.reasoning = message.reasoning;
    this.status = message.status;
    this.metadata = message.metadata;
    this.error = message.error;
    this.#wake();
  }

  /**
   * Ends waiting: nothing more can be learnt of this reply here.
   * @param {Error} cause
   */
  abandon(cause) {
    if (!this.ended) this.#lost = cause;
    this.#wake();
  }

  /**
   * Resolves with the reply once it has ended, however it did; see `status`.
   * @returns {Promise<this>}
   */
  async done() {
    while (!this.ended) await this.#change();
    return this;
  }

  async *[Symbol.asyncIterator]() {
    let told = 0;
    for (;;) {
      if (this.text.length > told) {
        const piece = this.text.slice(told);
        told = this.text.length;
        yield piece;
      } else if (this.ended) {
        return;
      } else {
        await this.#change();
      }
    }
  }

  /** @returns {Promise<void>} */
  #change() {
    if (this.#lost !== null) return Promise.reject(this.#lost);
    return new Promise((resolve) => this.#waiting.add(resolve));
  }

  #wake() {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
