import { failure, h, when } from "./dom.js";

/** @import { Context } from "./main.js" */

/** Milliseconds between looks at tasks that have not ended. */
const POLL = 1000;
const RUNNING = new Set(["pending", "running"]);

/**
 * Browser tasks: a form, the list, and the one that is open.
 * @param {Context} context
 * @param {string[]} path
 */
export function browserTasksView({ client, me }, path) {
  const problems = h("div");
  const rows = h("tbody");
  const detail = h("section", { "aria-live": "polite" });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let closed = false;
  let open = path[0] ?? "";
  /** @type {string[]} */
  let urls = [];

  const load = async () => {
    clearTimeout(timer);
    try {
      const user = me.role === "operator" ? undefined : (me.user_id ?? "local");
      const { tasks } = await client.browserTasks({ limit: 25, user_id: user });
      if (closed) return;
      rows.replaceChildren(...tasks.map(row));
      if (tasks.length === 0) rows.append(h("tr", {}, h("td.muted", { colspan: "4" }, "No tasks yet.")));
      if (tasks.some((/** @type {any} */ task) => RUNNING.has(task.status))) timer = setTimeout(() => void load(), POLL);
      if (open !== "") await show(open);
    } catch (error) {
      if (!closed) problems.replaceChildren(failure(error));
    }
  };

  /** @param {any} task */
  const row = (task) =>
    h(
      "tr",
      {},
      h("td", {}, h("a", { href: `#/browser/${encodeURIComponent(task.task_id)}` }, task.url)),
      h("td", {}, stateOf(task)),
      h("td", {}, when(task.created_at)),
      h("td", {}, RUNNING.has(task.status) ? h("button.small", { type: "button", onclick: () => cancel(task.task_id) }, "Cancel") : ""),
    );

  /** @param {string} id */
  const cancel = async (id) => {
    try {
      await client.cancelBrowserTask(id);
      await load();
    } catch (error) {
      problems.replaceChildren(failure(error));
    }
  };

  /** @param {string} id */
  const show = async (id) => {
    const task = await client.browserTaskStatus(id);
    const ended = !RUNNING.has(task.status);
    const picture = ended && task.screenshot_path ? await client.screenshot(id).catch(() => null) : null;
    if (closed || open !== id) return;
    for (const url of urls) URL.revokeObjectURL(url);
    urls = picture === null ? [] : [URL.createObjectURL(picture)];
    detail.replaceChildren(...taskDetail(task, urls[0]));
  };

  const input = /** @type {HTMLInputElement} */ (h("input", { type: "url", name: "url", required: true, placeholder: "https://example.org/", size: "40" }));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    problems.replaceChildren();
    try {
      const task = await client.browserTask({ url: input.value, wait: 0 });
      location.hash = `#/browser/${encodeURIComponent(task.task_id)}`;
      await load();
    } catch (error) {
      problems.replaceChildren(failure(error));
    }
  };

  void load();
  return {
    element: h(
      "div.page",
      {},
      h("section", {}, h("h2", {}, "Open a page"), h("form.row", { onsubmit: submit }, h("label", {}, "Address", input), h("button.primary", { type: "submit" }, "Open")), problems),
      detail,
      h(
        "section",
        {},
        h("h2", {}, "Newest tasks"),
        h("div.table", {}, h("table", {}, h("thead", {}, h("tr", {}, ...["Address", "Status", "Created", "Action"].map((name) => h("th", { scope: "col" }, name)))), rows)),
      ),
    ),
    /** @param {string[]} to */
    go: (to) => {
      open = to[0] ?? "";
      if (open === "") detail.replaceChildren();
      else void show(open).catch((error) => problems.replaceChildren(failure(error)));
      return true;
    },
    close: () => {
      closed = true;
      clearTimeout(timer);
      for (const url of urls) URL.revokeObjectURL(url);
    },
  };
}

/**
 * A task's state, with its place among its user's waiting tasks.
 * @param {any} task
 */
function stateOf(task) {
  return typeof task.position === "number" ? `${task.status}, place ${task.position}` : task.status;
}

/**
 * @param {any} task
 * @param {string | undefined} picture
 */
function taskDetail(task, picture) {
  const result = task.result ?? {};
  const console_ = Array.isArray(result.console) ? result.console : [];
  return [
    h("h2", {}, result.title || task.url),
    h("p", {}, h("strong", {}, stateOf(task)), task.error_message ? ` – ${task.error_message}` : "", result.duration_ms == null ? "" : `, ${result.duration_ms} ms`),
    picture === undefined ? null : h("img.shot", { src: picture, alt: `Screenshot of ${task.url}` }),
    task.text_snippet ? h("details", {}, h("summary", {}, "Text"), h("p", {}, task.text_snippet)) : null,
    console_.length > 0 ? h("details", {}, h("summary", {}, `Console (${console_.length})`), h("pre", {}, console_.join("\n"))) : null,
  ].filter((part) => part !== null);
}
