import { OperatorError, errorOf, noOperator } from "./errors.js";

const JSON_TYPE = "application/json";

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
   * Sends a request; the answer's head has come and is a success of the type `media`. A redirect is none: it would
   * take the token to another host.
   * @param {string} method
   * @param {string} path
   * @param {{query?: Record<string, unknown>, body?: unknown, headers?: Record<string, string>, media?: string, signal?: AbortSignal | undefined}} [options]
   * @returns {Promise<Response>}
   */
  async send(method, path, options = {}) {
    /** @type {Record<string, string>} */
    const headers = { ...options.headers };
    if (this.token !== undefined) headers["X-VX11-Token"] = this.#sendable(this.token);
    if (options.body !== undefined) headers["Content-Type"] = JSON_TYPE;
    let response;
    try {
      response = await this.#fetch(this.url(path, options.query), {
        method,
        headers,
        redirect: "manual",
        signal: options.signal ?? null,
        body: options.body === undefined ? null : JSON.stringify(options.body),
      });
    } catch (cause) {
      if (options.signal?.aborted) throw cause;
      throw this.#unreachable(cause);
    }
    if (!response.ok) throw await errorOf(response);
    const type = (response.headers.get("Content-Type") ?? "").replace(/\s*;.*/, "").toLowerCase();
    if (response.status !== 204 && type !== (options.media ?? JSON_TYPE)) throw noOperator(response);
    return response;
  }

  /**
   * Sends a request and reads the JSON of its answer; undefined where it has none.
   * @param {string} method
   * @param {string} path
   * @param {Parameters<Http["send"]>[2]} [options]
   * @returns {Promise<any>}
   */
  async json(method, path, options) {
    const response = await this.send(method, path, options);
    if (response.status === 204) return undefined;
    const text = await this.#whole(response.text(), options?.signal);
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw noOperator(response, cause);
    }
  }

  /**
   * Sends a request and reads the bytes of its answer.
   * @param {string} method
   * @param {string} path
   * @param {string} media Their type.
   */
  async blob(method, path, media) {
    return this.#whole((await this.send(method, path, { media })).blob());
  }

  /**
   * Waits for a whole body; one that is cut is an answer that did not come.
   * @template T
   * @param {Promise<T>} body
   * @param {AbortSignal | undefined} [signal]
   * @returns {Promise<T>}
   */
  async #whole(body, signal) {
    try {
      return await body;
    } catch (cause) {
      if (signal?.aborted) throw cause;
      throw this.#unreachable(cause);
    }
  }

  /**
   * A token that a header can hold; another one is refused here, as Operator would.
   * @param {string} token
   */
  #sendable(token) {
    if (!/[^\t\x20-\x7e]/.test(token.trim())) return token;
    throw new OperatorError("forbidden", "the token has characters that no token has", { status: 403 });
  }

  /** @param {unknown} cause */
  #unreachable(cause) {
    const detail = `Operator cannot be reached at ${this.base.origin}`;
    return new OperatorError("unreachable", detail, { retryable: true, cause });
  }
}
