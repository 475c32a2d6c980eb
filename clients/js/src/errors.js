/**
 * The failure of a call. `code` is one of Operator's error codes, or one of the client's own:
 * `unreachable` (no answer, or none to its end), `no_operator` (another program answered), `closed` (the connection
 * ended for good), `frame_too_large`.
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
  /** @type {any} */
  let body;
  try {
    body = await response.json();
  } catch {
    body = undefined;
  }
  const [code, detail] = told(body);
  if (!code) return noOperator(response);
  return new OperatorError(code, detail, {
    status: response.status,
    retryable: mayPass(response.status),
    retryAfter: retryAfterOf(response),
    body,
  });
}

/**
 * The seconds that `Retry-After` asks for, which is a number or a date (RFC 9110).
 * @param {Response} response
 */
function retryAfterOf(response) {
  const value = response.headers.get("Retry-After")?.trim() ?? "";
  if (/^\d+$/.test(value)) return Number(value);
  const until = Date.parse(value);
  // Date.parse reads more than dates of HTTP, such as "-1"; those have letters.
  if (!/^[A-Z]/i.test(value) || Number.isNaN(until)) return undefined;
  return Math.max(0, (until - Date.now()) / 1000);
}

/**
 * The error of an answer that Operator does not give, such as a proxy's page or a redirect.
 * @param {Response} response
 * @param {unknown} [cause]
 */
export function noOperator(response, cause) {
  const { status } = response;
  const what = status === 0 ? "a redirect" : `HTTP ${status}`;
  const more = { status, retryable: mayPass(status), retryAfter: retryAfterOf(response), cause };
  return new OperatorError("no_operator", `the answer, ${what}, is not Operator's`, more);
}

/** @param {number} status */
function mayPass(status) {
  return status === 429 || status >= 500;
}

/**
 * The code and the words of a problem (RFC 9457), or of an error as OpenAI's SDKs know it.
 * @param {any} body
 * @returns {[string, string]}
 */
function told(body) {
  const error = body?.error;
  if (typeof error === "string") return [error, String(body.detail ?? "")];
  return [String(error?.code ?? error?.type ?? ""), String(error?.message ?? "")];
}
