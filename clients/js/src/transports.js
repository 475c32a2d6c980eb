import { OperatorError } from "./errors.js";
import { EventStreamDecoder } from "./sse.js";

/** @import { Http } from "./http.js" */

const EVENT_STREAM = "text/event-stream";
const SUBPROTOCOL = "operator.v1";
/** Largest frame that Operator takes, in bytes (docs/websocket.md). */
const MAX_FRAME = 512 * 1024;
/** Close codes from here on say not to come back. */
const FINAL = 4500;

/**
 * @typedef {object} Connection One connection, from its opening to its end.
 * @property {((frame: object) => void) | null} send Sends a frame; null where the transport only reads.
 * @property {() => void} close
 * @property {Promise<number>} closed Resolves with the close code, or 0, at an end after which the
 *   client comes back; rejects with OperatorError where it must not.
 */

/**
 * @typedef {object} Handlers
 * @property {(frame: any) => void} onFrame
 * @property {() => void} onLife Called whenever anything has come, heartbeats too.
 */

/**
 * Opens a websocket.
 * @param {Http} http
 * @param {string} sessionId
 * @param {{after: number, epoch: string | null}} position
 * @param {Handlers} handlers
 * @param {typeof globalThis.WebSocket} WebSocket
 * @returns {Connection}
 */
export function openWebSocket(http, sessionId, position, handlers, WebSocket) {
  const url = http.url(`ws/${encodeURIComponent(sessionId)}`, position);
  url.protocol = url.protocol.replace("http", "ws");
  const protocols = [SUBPROTOCOL];
  if (http.token !== undefined) protocols.push(`token.${base64url(http.token)}`);
  const socket = new WebSocket(url, protocols);
  let close = () => socket.close(1000);
  /** @type {Promise<number>} */
  const closed = new Promise((resolve, reject) => {
    close = () => {
      socket.onmessage = null;
      socket.close(1000);
      resolve(0); // a browser waits a minute for the answer of a peer that is gone
    };
    socket.onmessage = (message) => {
      handlers.onLife();
      handlers.onFrame(JSON.parse(message.data));
    };
    socket.onclose = ({ code, reason }) => {
      if (code < FINAL) resolve(code);
      else {
        reject(
          new OperatorError("closed", reason || `Operator closed with code ${code}`, {
            status: code,
          }),
        );
      }
    };
  });
  /** @param {object} frame */
  const send = (frame) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
  };
  return { send, close, closed };
}

/**
 * Reads the session's event stream, the websocket's twin, where websockets do not pass.
 * @param {Http} http
 * @param {string} sessionId
 * @param {{after: number, epoch: string | null}} position
 * @param {Handlers} handlers
 * @returns {Connection}
 */
export function openEventStream(http, sessionId, position, handlers) {
  const abort = new AbortController();
  const closed = readEvents(http, sessionId, position, handlers, abort.signal);
  return { send: null, close: () => abort.abort(), closed };
}

/**
 * @param {Http} http
 * @param {string} sessionId
 * @param {{after: number, epoch: string | null}} position
 * @param {Handlers} handlers
 * @param {AbortSignal} signal
 */
async function readEvents(http, sessionId, position, handlers, signal) {
  try {
    const response = await http.send(
      "GET",
      `operator/session/${encodeURIComponent(sessionId)}/events`,
      { query: position, headers: { Accept: EVENT_STREAM }, media: EVENT_STREAM, signal },
    );
    const decoder = new EventStreamDecoder();
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return 0;
      handlers.onLife();
      for (const event of decoder.push(value)) handlers.onFrame(JSON.parse(event.data));
    }
  } catch (error) {
    if (signal.aborted) return 0;
    // Another program in Operator's place, such as a network's page to sign in, may pass.
    if (error instanceof OperatorError && !error.retryable && error.status >= 400) throw error;
    if (!(error instanceof OperatorError) && !(error instanceof TypeError)) throw error;
    return 0;
  }
}

/**
 * Refuses a frame that Operator would close the connection for.
 * @param {object} frame
 */
export function checkSize(frame) {
  const bytes = new TextEncoder().encode(JSON.stringify(frame)).length;
  if (bytes > MAX_FRAME) {
    throw new OperatorError("frame_too_large", `the frame has ${bytes} of ${MAX_FRAME} bytes`);
  }
}

/**
 * base64url without padding: browsers refuse "=" in a subprotocol.
 * @param {string} text
 */
function base64url(text) {
  const bytes = new TextEncoder().encode(text);
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
