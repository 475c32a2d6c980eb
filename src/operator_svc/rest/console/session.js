import { announce, failure, h } from "./dom.js";
import { frameLog } from "./frames.js";
import { bodyOf, messageElement, numberReplies } from "./message.js";

/** @import { Context } from "./main.js" */
/** @import { Message, SessionState } from "./client/index.js" */

/** Pixels from the end within which new text keeps the end in view. */
const NEAR = 80;
/** What a newcomer may ask: there is time to cut the connection, to open a second tab and to stop it. */
const SUGGESTED = "Write a long reply, please.";

const CONNECTIONS = {
  connecting: ["warn", "connecting"],
  live: ["good", "live"],
  resuming: ["warn", "resuming"],
  offline: ["warn", "connection lost, coming back"],
  closed: ["bad", "closed"],
};

/**
 * One session, live: its messages, a composer, and the raw frames.
 * @param {Context} context
 * @param {string} id
 * @param {() => void} refreshList
 */
export function sessionView({ client, base }, id, refreshList) {
  const session = client.session(id);
  const log = frameLog(id, base);
  const badge = h("span.badge.warn", { role: "status" }, "connecting");
  const older = h("button.small", { type: "button", hidden: true, onclick: () => void session.loadOlder() }, "Older messages");
  const list = h("div.messages", { role: "log", "aria-label": "Messages", "aria-live": "off", tabindex: "0" });
  const problems = h("div");
  const suggest = h("button", { type: "button", onclick: () => attempt(() => session.ask(SUGGESTED)) }, SUGGESTED);
  const empty = h("p.empty", { hidden: true }, "Nothing was said here yet. Write a message, or try ", suggest);
  /** @type {Map<number, {message: Message, element: HTMLElement}>} */
  const shown = new Map();
  let known = 0;
  let following = true;

  const follow = () => {
    if (following) list.scrollTop = list.scrollHeight;
  };
  list.addEventListener("scroll", () => (following = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR));
  const resizes = new ResizeObserver(follow);
  resizes.observe(list);

  /** @param {() => Promise<unknown>} act */
  const attempt = async (act) => {
    problems.replaceChildren();
    try {
      await act();
      return true;
    } catch (error) {
      problems.replaceChildren(failure(error));
      return false;
    }
  };

  const actions = {
    /**
     * @param {number} messageId
     * @param {number} callId
     */
    toolCall: async (messageId, callId) => {
      const query = { cursor: /** @type {string | undefined} */ (undefined) };
      for (;;) {
        const page = await client.call("GET", `/operator/message/${messageId}/tool-calls`, { query });
        const found = page.tool_calls.find((/** @type {any} */ call) => call.id === callId);
        if (found !== undefined || page.next_cursor === null) return found;
        query.cursor = page.next_cursor;
      }
    },
    /** @param {Message} message */
    stop: (message) => attempt(() => session.stop(message.id)),
    /** @param {Message} message */
    regenerate: (message) => attempt(() => session.regenerate(message.id)),
    /**
     * Asks again under the failed message's own key: the message is not stored twice. One that came in OpenAI's
     * protocol brought more than is shown here, which a regenerate sends again.
     * @param {Message} message
     */
    retry: (message) =>
      attempt(async () => {
        const asked = session.state.messages.find((other) => other.id === message.replyTo);
        const key = asked?.metadata["client_message_id"];
        const foreign = asked !== undefined && ("openai" in asked.metadata || String(key).startsWith("intent-"));
        if (asked === undefined || typeof key !== "string" || foreign) await session.regenerate(message.id);
        else {
          const { client_message_id: _, ...metadata } = asked.metadata;
          await session.ask(asked.content, { key, metadata });
        }
      }),
  };

  /** @param {SessionState} state */
  const show = (state) => {
    const [colour, word] = /** @type {[string, string]} */ (CONNECTIONS[state.connection]);
    badge.className = `badge ${colour}`;
    const detail = state.connection === "resuming" || state.connection === "offline" ? ` from seq ${state.seq}` : "";
    const resynced = state.connection === "live" && state.resyncs > 0 ? ", resynced" : "";
    const label = state.error === null ? word + detail + resynced : `closed: ${state.error.detail}`;
    if (badge.textContent !== label) badge.textContent = label;
    badge.title = `by ${state.transport}`;
    older.hidden = state.nextBefore === null;
    empty.hidden = state.connection !== "live" || state.messages.length > 0;
    showMessages(state.messages);
    follow();
    if (known !== state.messages.length) refreshList();
    known = state.messages.length;
  };

  /** @param {readonly Message[]} messages */
  const showMessages = (messages) => {
    const keep = new Set(messages.map((message) => message.id));
    for (const [key, { element }] of shown) {
      if (!keep.has(key)) {
        element.remove();
        shown.delete(key);
      }
    }
    messages.forEach((message, place) => {
      const before = shown.get(message.id);
      if (before?.message === message) return;
      if (before?.message.status === "streaming" && message.status === "streaming") {
        // The rest stays as it is, so that a focused button keeps the focus.
        before.element.querySelector(".body")?.replaceChildren(...bodyOf(message));
        shown.set(message.id, { message, element: before.element });
        return;
      }
      const element = messageElement(message, actions);
      if (before === undefined) list.insertBefore(element, list.children[place + 1] ?? null);
      else {
        if (before.message.status === "streaming" && message.status !== "streaming") announce(`Reply ${message.status}`);
        before.element.replaceWith(element);
      }
      shown.set(message.id, { message, element });
    });
    numberReplies(messages.flatMap((message) => shown.get(message.id) ?? []));
  };

  list.append(older);
  const unsubscribe = session.subscribe(show);
  const unlisten = session.onFrame(log.add);
  show(session.state);
  const composer = composerElement((text) => attempt(() => session.ask(text)));

  const remove = () =>
    attempt(async () => {
      if (!confirm(`Delete the session ${id} and all that belongs to it?`)) return;
      await client.deleteSession(id);
      location.hash = "#/sessions";
      refreshList();
    });
  const save = () =>
    attempt(async () => {
      const body = await (await client.exportSession(id)).blob();
      const link = h("a", { href: URL.createObjectURL(body), download: `${id}.jsonl` });
      link.click();
      URL.revokeObjectURL(/** @type {HTMLAnchorElement} */ (link).href);
    });

  return {
    id,
    elements: [
      h(
        "div.bar",
        {},
        h("a.back.button.small", { href: "#/sessions", "aria-label": "All sessions" }, "‹"),
        h("h2", {}, id),
        badge,
        h(
          "div.row",
          {},
          h("button.small", { type: "button", onclick: () => session.reconnect(), title: "Cuts the connection to show that nothing is lost" }, "Cut connection"),
          h("a.button.small", { href: location.href, target: "_blank", rel: "opener" }, "Second tab"),
          h("button.small", { type: "button", "aria-expanded": "false", onclick: log.toggle }, "Frames"),
          h("button.small", { type: "button", onclick: save }, "Export"),
          h("button.small.danger", { type: "button", onclick: remove }, "Delete"),
        ),
      ),
      list,
      empty,
      problems,
      composer.element,
      log.element,
    ],
    focus: () => composer.focus(),
    close: () => {
      resizes.disconnect();
      unsubscribe();
      unlisten();
      void session.close();
    },
  };
}

/** @param {(text: string) => Promise<boolean>} send Tells if the text was sent. */
function composerElement(send) {
  const input = /** @type {HTMLTextAreaElement} */ (
    h("textarea", { name: "message", rows: "2", "aria-label": "Message", placeholder: "Message (Enter sends, Shift+Enter breaks the line)", maxlength: "32000" })
  );
  const submit = async () => {
    const text = input.value;
    if (text.trim() === "") return;
    input.value = "";
    if (!(await send(text)) && input.value === "") input.value = text;
  };
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void submit();
  });
  const element = h(
    "form.composer",
    {
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        void submit();
      },
    },
    input,
    h("button.primary", { type: "submit" }, "Send"),
  );
  return { element, focus: () => input.focus() };
}
