import { OperatorError, errorOf } from "./errors.js";

/**
 * @typedef {object} HttpOptions
 * @property {string | undefined} [token]
 * @property {typeof globalThis.fetch | undefined} [fetch]
 */

/** Calls Operator over HTTP, with the token in a header and failures as OperatorError. */
export class Http {
  #fetch;
  /** @type {Set<(token: string) => void>} */
  #tokenListeners = new Set();

  /**
   * @param {string | URL} url Operator's address, with its path prefix if it has one.
   * @param {HttpOptions} options
   */
  constructor(url, options) {
    this.base = new URL(url);
    if (!this.base.pathname.endsWith("/")) this.base.pathname += "/";
    this.token = options.token;
    this.#fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
  }

  /**
   * Replaces the token of all that is sent from now on.
   * @param {string} token
   */
  setToken(token) {
    this.token = token;
    for (const listener of this.#tokenListeners) listener(token);
  }

  /**
   * Calls `listener` with each new token; the return value ends that.
   * @param {(token: string) => void} listener
   * @returns {() => void}
   */
  onToken(listener) {
    this.#tokenListeners.add(listener);
    return () => this.#tokenListeners.delete(listener);
  }

  /**
   * @param {string} path Without a leading slash.
   * @param {Record<string, unknown>} [query] Undefined and null fields are left out.
   */
  url(path, query = {}) {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
    }
    return url;
  }

  /**
   * Sends a request; the answer's head has come and is a success.
   * @param {string} method
   * @param {string} path
   * @param {{query?: Record<string, unknown>, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal | undefined}} [options]
   * @returns {Promise<Response>}
   */
  async send(method, path, options = {}) {
    /** @type {Record<string, string>} */
    const headers = { ...options.headers };
    if (this.token !== undefined) headers["X-VX11-Token"] = this.token;
    if (options.body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await this.#fetch(this.url(path, options.query), {
        method,
        headers,
        signal: options.signal ?? null,
        body: options.body === undefined ? null : JSON.stringify(options.body),
      });
    } catch (cause) {
      if (options.signal?.aborted) throw cause;
      throw new OperatorError("unreachable", `Operator cannot be reached at ${this.base.origin}`, {
        retryable: true,
        cause,
      });
    }
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  /**
   * Sends a request and reads the JSON of its answer.
   * @param {string} method
   * @param {string} path
   * @param {Parameters<Http["send"]>[2]} [options]
   * @returns {Promise<any>}
   */
  async json(method, path, options) {
    return (await this.send(method, path, options)).json();
  }
}
