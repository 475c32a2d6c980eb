import { copy, h } from "./dom.js";

/** Frames that are kept; older ones go. */
const MOST = 500;
/** Pixels from the end within which a new frame keeps the end in view. */
const NEAR = 40;

/**
 * The raw frames of a session, newest last, with a filter.
 * @param {string} sessionId
 * @param {string} base
 */
export function frameLog(sessionId, base) {
  const lines = h("ol", { "aria-label": "Frames" });
  const filter = /** @type {HTMLInputElement} */ (
    h("input", { type: "search", "aria-label": "Filter frames", placeholder: "Filter" })
  );
  const path = encodeURIComponent(sessionId);
  const curl = `curl -sN '${base}operator/session/${path}/events' -H "X-VX11-Token: $OPERATOR_TOKEN" -H 'Accept: text/event-stream'`;
  const socket = `python -m websockets '${base.replace(/^http/, "ws")}ws/${path}'`;
  const element = h(
    "section.frames",
    { hidden: true, "aria-label": "Frames of this session" },
    h("div.row", {}, filter, copyOf("Copy as curl", curl), copyOf("Copy as websocket", socket)),
    lines,
  );
  /** @type {string[]} */
  const kept = [];

  const matches = (/** @type {string} */ text) => text.includes(filter.value);
  const redraw = () => {
    lines.replaceChildren(...kept.filter(matches).map((text) => h("li", {}, text)));
    element.scrollTop = element.scrollHeight;
  };
  filter.addEventListener("input", redraw);

  return {
    element,
    /** @param {any} frame */
    add: (frame) => {
      const text = JSON.stringify(frame);
      kept.push(text);
      if (kept.length > MOST) kept.shift();
      if (element.hidden || !matches(text)) return;
      const following = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR;
      lines.append(h("li", {}, text));
      if (following) element.scrollTop = element.scrollHeight;
      if (lines.children.length > MOST) lines.firstElementChild?.remove();
    },
    /** @param {Event} event */
    toggle: (event) => {
      element.hidden = !element.hidden;
      /** @type {HTMLElement} */ (event.currentTarget).setAttribute("aria-expanded", String(!element.hidden));
      if (!element.hidden) redraw();
    },
  };
}

/**
 * @param {string} label
 * @param {string} text
 */
function copyOf(label, text) {
  const button = h("button.small", { type: "button", onclick: () => copy(text, button) }, label);
  return button;
}
