import { copy, failure, h, when } from "./dom.js";
import { markdown } from "./markdown.js";

/** @import { Message } from "./client/index.js" */

/**
 * @typedef {object} Actions What the buttons of a message do.
 * @property {(message: Message) => void} stop
 * @property {(message: Message) => void} regenerate
 * @property {(message: Message) => void} retry
 * @property {(messageId: number, callId: number) => Promise<any>} toolCall Reads a tool call with its values.
 */

/**
 * A message with what can be done with it.
 * @param {Message} message
 * @param {Actions} actions
 */
export function messageElement(message, actions) {
  const streaming = message.status === "streaming";
  const failed = message.status === "failed" || message.status === "interrupted";
  const mine = message.role === "user";
  const body = h(
    `div.body${streaming ? ".streaming" : ""}`,
    {},
    ...bodyOf(message),
    failed ? h("p.error", {}, failureOf(message)) : null,
  );
  return h(
    `article.message.${mine ? "user" : "reply"}`,
    { "aria-label": `${message.role}, ${message.status}`, "aria-busy": streaming ? "true" : undefined },
    body,
    ...message.toolCalls.map((call) => toolCallElement(message.id, call, actions)),
    h(
      "div.meta",
      {},
      h("span", {}, message.role),
      message.timestamp === "" ? null : when(message.timestamp),
      message.metadata["provider"] ? h("span", {}, String(message.metadata["provider"])) : null,
      message.status === "complete" ? null : h("span", {}, message.status),
      mine ? null : h("span.place", { hidden: true }),
      streaming ? h("button.small", { type: "button", onclick: () => actions.stop(message) }, "Stop") : null,
      !mine && !streaming && !failed ? h("button.small", { type: "button", onclick: () => actions.regenerate(message) }, "Regenerate") : null,
      failed ? h("button.small", { type: "button", onclick: () => actions.retry(message) }, "Try again") : null,
      streaming ? null : copyButton(message.content),
    ),
  );
}

/**
 * The reason that a reply did not come whole; replies of old services have its code alone.
 * @param {Message} message
 */
function failureOf(message) {
  if (message.status === "interrupted") return "The reply was interrupted.";
  const code = message.error ?? "unknown";
  const detail = message.metadata["detail"];
  return `The reply failed: ${typeof detail === "string" ? `${detail} (${code})` : code}.`;
}

/**
 * What was said, without the buttons.
 * @param {Message} message
 * @returns {Node[]}
 */
export function bodyOf(message) {
  if (message.role === "user") return [h("p", {}, message.content)];
  const reasoning = message.reasoning === "" ? [] : [h("details", {}, h("summary", {}, "Reasoning"), ...markdown(message.reasoning))];
  const waiting = message.content === "" && message.status === "streaming" ? [h("p.muted", {}, "…")] : [];
  return [...reasoning, ...markdown(message.content), ...waiting];
}

/** @param {string} text */
function copyButton(text) {
  const button = h("button.small", { type: "button", onclick: () => copy(text, button) }, "Copy");
  return button;
}

/**
 * A tool call; events bring it without its values, which are read when it is opened.
 * @param {number} messageId
 * @param {any} call
 * @param {Actions} actions
 */
function toolCallElement(messageId, call, actions) {
  const values = h("code");
  const show = (/** @type {any} */ whole) => {
    values.textContent = JSON.stringify({ arguments: whole.arguments, result: whole.result, error: whole.error }, null, 2);
  };
  const fill = () => {
    if (call.arguments !== undefined) show(call);
    else actions.toolCall(messageId, call.id).then(show, (error) => values.replaceChildren(failure(error)));
  };
  const made = h(
    "details.card",
    {},
    h("summary", {}, `Tool ${call.tool_name}: ${call.status}`, call.duration_ms === null ? "" : `, ${call.duration_ms} ms`),
    h("pre", { tabindex: "0" }, values),
  );
  made.addEventListener("toggle", fill, { once: true });
  return made;
}

/**
 * Tells of each reply which one it is of those to the same message.
 * @param {Iterable<{message: Message, element: HTMLElement}>} shown Oldest first.
 */
export function numberReplies(shown) {
  /** @type {Map<number, HTMLElement[]>} */
  const replies = new Map();
  for (const { message, element } of shown) {
    if (message.replyTo === null || message.role === "user") continue;
    replies.set(message.replyTo, [...(replies.get(message.replyTo) ?? []), element]);
  }
  for (const elements of replies.values()) {
    elements.forEach((element, place) => {
      const label = /** @type {HTMLElement} */ (element.querySelector(".place"));
      label.textContent = `answer ${place + 1} of ${elements.length}`;
      label.hidden = elements.length === 1;
    });
  }
}
