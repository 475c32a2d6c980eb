/**
 * Makes an element. Children that are strings become text nodes, so nothing a person or a model
 * wrote is ever read as HTML.
 * @param {string} name Tag name, with classes: `p.muted`.
 * @param {Record<string, any>} [attributes] `on…` are listeners; false, null and undefined are left out.
 * @param {...(Node | string | null | undefined | false)} children
 */
export function h(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length > 0) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") /** @type {HTMLInputElement} */ (element).value = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * Says something to screen readers.
 * @param {string} text
 */
export function announce(text) {
  /** @type {HTMLElement} */ (document.getElementById("announcer")).textContent = text;
}

/**
 * @param {string} text
 * @param {HTMLElement} button Says that it has been done.
 */
export async function copy(text, button) {
  const before = button.textContent;
  button.textContent = (await copied(text)) ? "Copied" : "Not permitted";
  setTimeout(() => (button.textContent = before), 1500);
}

/**
 * Puts a text into the clipboard; pages without TLS, but for those of this machine, have no `navigator.clipboard`.
 * @param {string} text
 */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = /** @type {HTMLTextAreaElement} */ (h("textarea.visually-hidden", { value: text }));
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    focused?.focus();
    return done;
  }
}

/**
 * A time in the reader's own time zone.
 * @param {string | null | undefined} timestamp
 */
export function when(timestamp) {
  if (!timestamp) return h("span", {}, "–");
  const date = new Date(timestamp);
  return h("time", { datetime: timestamp, title: timestamp }, date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }));
}

/**
 * @param {unknown} error
 */
export function failure(error) {
  const text = error instanceof Error ? error.message : String(error);
  return h("p.error", { role: "alert" }, text);
}
