/**
 * The failure of a call. `code` is one of Operator's error codes, or one of the client's own:
 * `unreachable` (no answer), `closed` (the connection ended for good), `frame_too_large`.
 */
export class OperatorError extends Error {
  /**
   * @param {string} code
   * @param {string} detail
   * @param {{status?: number | undefined, retryable?: boolean | undefined, retryAfter?: number | undefined, body?: unknown, cause?: unknown}} [more]
   */
  constructor(code, detail, more = {}) {
    super(`${detail} (${code})`, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = "OperatorError";
    this.code = code;
    this.detail = detail;
    /** HTTP status, or the websocket's close code; 0 where there was no answer. */
    this.status = more.status ?? 0;
    /** Whether the same call may succeed later. */
    this.retryable = more.retryable ?? false;
    /** Seconds to wait before trying again, where the server says so. */
    this.retryAfter = more.retryAfter;
    /** The problem details, where the answer had them. */
    this.body = more.body;
  }
}

/**
 * Reads the failure that an HTTP answer carries.
 * @param {Response} response
 * @returns {Promise<OperatorError>}
 */
export async function errorOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After") ?? NaN);
  /** @type {any} */
  let body;
  try {
    body = await response.json();
  } catch {
    body = undefined;
  }
  return new OperatorError(
    typeof body?.error === "string" ? body.error : "http_error",
    typeof body?.detail === "string" ? body.detail : `HTTP ${response.status}`,
    {
      status: response.status,
      retryable: response.status === 429 || response.status >= 500,
      retryAfter: Number.isFinite(retryAfter) ? retryAfter : undefined,
      body,
    },
  );
}
