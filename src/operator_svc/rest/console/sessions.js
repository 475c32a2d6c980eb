import { failure, h, when } from "./dom.js";
import { sessionView } from "./session.js";

/** @import { Context } from "./main.js" */

/** Milliseconds after the last key before a search is sent. */
const SEARCH_PAUSE = 250;
/** Sessions of a page; a list that is read again keeps those that it showed and a new one, as many as one call gives. */
const PAGE = 50;
const MOST = 200;

/**
 * The list of sessions, and beside it the one that is open.
 * @param {Context} context
 * @param {string[]} path
 */
export function sessionsView(context, path) {
  const list = sessionList(context);
  const place = h("div.session", {});
  const element = h("div.split", {}, list.element, place);
  /** @type {ReturnType<typeof sessionView> | undefined} */
  let open;

  /** @param {string[]} to */
  const go = (to) => {
    const id = to[0];
    if (open !== undefined && open.id === id) return true;
    open?.close();
    open = undefined;
    element.classList.toggle("open", id !== undefined && id !== "");
    if (!id) {
      place.replaceChildren(h("p.empty", {}, "Open a session, or start a new one."));
    } else {
      open = sessionView(context, id, list.refresh);
      place.replaceChildren(...open.elements);
      open.focus();
    }
    list.mark(id);
    return true;
  };
  go(path);
  return { element, go, close: () => open?.close() };
}

/** @param {Context} context */
function sessionList({ client, me }) {
  const items = h("ul", { "aria-label": "Sessions, newest first" });
  const more = h("button", { type: "button", hidden: true, onclick: () => load(true) }, "Older sessions");
  const status = h("p.muted", { role: "status" });
  const search = /** @type {HTMLInputElement} */ (
    h("input", { type: "search", name: "q", "aria-label": "Search in messages", placeholder: "Search in messages" })
  );
  const user = /** @type {HTMLInputElement} */ (
    h("input", { name: "user", "aria-label": "User", placeholder: "User", value: me.user_id ?? "" })
  );
  const needsUser = me.role !== "operator" && me.user_id === null;
  /** @type {string | null} */
  let cursor = null;
  let asked = 0;
  let current = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /** @param {boolean} [append] */
  const load = async (append = false) => {
    const turn = ++asked;
    try {
      const page = await client.sessions({
        q: search.value.trim() || undefined,
        userId: user.value.trim() || (needsUser ? "local" : undefined),
        limit: append ? PAGE : Math.min(Math.max(items.children.length + 1, PAGE), MOST),
        cursor: append && cursor !== null ? cursor : undefined,
      });
      if (turn !== asked) return;
      const rows = page.sessions.map(row);
      if (append) items.append(...rows);
      else items.replaceChildren(...rows);
      cursor = page.next_cursor;
      more.hidden = cursor === null;
      const wanted = search.value.trim() !== "" || (user.value.trim() !== "" && me.user_id === null);
      status.replaceChildren(items.children.length > 0 ? "" : wanted ? "No session matches." : "No sessions yet.");
      mark(current);
    } catch (error) {
      if (turn === asked) status.replaceChildren(failure(error));
    }
  };

  /** @param {any} session */
  const row = (session) =>
    h(
      "li",
      { "data-id": session.session_id },
      h(
        "a",
        { href: `#/sessions/${encodeURIComponent(session.session_id)}`, title: session.session_id },
        h("span", {}, session.preview ?? session.session_id),
        h("span.muted", {}, session.message_count === 1 ? "1 message, " : `${session.message_count} messages, `, when(session.updated_at)),
      ),
    );

  /** @param {string | undefined} id */
  const mark = (id) => {
    current = id ?? "";
    for (const item of items.children) {
      const link = /** @type {HTMLElement} */ (item.firstElementChild);
      if (/** @type {HTMLElement} */ (item).dataset["id"] === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };

  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => void load(), SEARCH_PAUSE);
  };
  search.addEventListener("input", soon);
  user.addEventListener("input", soon);
  const start = () => (location.hash = `#/sessions/${newSessionId()}`);
  void load();
  return {
    element: h(
      "div.list",
      {},
      h(
        "form",
        { role: "search", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
        h("div.row", {}, h("button.primary", { type: "button", onclick: start }, "New session")),
        h("div.row", {}, search),
        me.user_id === null ? h("div.row", {}, user) : null,
      ),
      status,
      items,
      h("div.row", {}, more),
    ),
    mark,
    refresh: () => void load(),
  };
}

/** A date for people, and enough chance that nobody else makes the same. */
function newSessionId() {
  const chance = crypto.getRandomValues(new Uint32Array(2));
  return `${new Date().toISOString().slice(0, 10)}-${Array.from(chance, (n) => n.toString(36)).join("")}`;
}
