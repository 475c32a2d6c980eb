/**
 * Splits an event stream (WHATWG HTML, server-sent events) into its events. Events may be cut at
 * any byte; lines end with CR, LF or both.
 */
export class EventStreamDecoder {
  #text;
  #rest;
  /** @type {string[]} */
  #data;
  #type;

  constructor() {
    this.#text = new TextDecoder();
    this.#rest = "";
    this.#data = [];
    this.#type = "message";
    /** The `id` of the newest event. */
    this.lastEventId = "";
  }

  /**
   * @param {Uint8Array} chunk
   * @returns {{type: string, data: string, id: string}[]}
   */
  push(chunk) {
    this.#rest += this.#text.decode(chunk, { stream: true });
    const events = [];
    for (;;) {
      const found = /\r\n|\n|\r(?=[^])/.exec(this.#rest);
      if (found === null) return events;
      const line = this.#rest.slice(0, found.index);
      this.#rest = this.#rest.slice(found.index + found[0].length);
      const event = this.#line(line);
      if (event !== undefined) events.push(event);
    }
  }

  /** @param {string} line */
  #line(line) {
    if (line === "") {
      if (this.#data.length === 0) return undefined;
      const event = { type: this.#type, data: this.#data.join("\n"), id: this.lastEventId };
      this.#data = [];
      this.#type = "message";
      return event;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return undefined;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#type = value || "message";
    else if (field === "id" && !value.includes("\0")) this.lastEventId = value;
    return undefined;
  }
}
