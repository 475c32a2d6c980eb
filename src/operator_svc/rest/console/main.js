import { OperatorClient } from "./client/index.js";
import { failure, h } from "./dom.js";
import { browserTasksView } from "./browser_tasks.js";
import { sessionsView } from "./sessions.js";
import { systemView } from "./system.js";

/**
 * @typedef {object} Context What every view is given.
 * @property {OperatorClient} client
 * @property {{name: string | null, role: string, user_id: string | null}} me
 * @property {string} base Operator's address, with its path prefix.
 *
 * @typedef {(context: Context, path: string[]) => {element: HTMLElement, close?: () => void, go?: (path: string[]) => boolean}} View
 */

/** @type {Record<string, {title: string, view: View}>} */
const VIEWS = {
  sessions: { title: "Sessions", view: sessionsView },
  browser: { title: "Browser tasks", view: browserTasksView },
  system: { title: "System", view: systemView },
};
const TOKEN = "operator.token";
const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const base = new URL("../", import.meta.url).href;

/** The token stands behind `#`, which is never sent to a server; it leaves the address at once. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  sessionStorage.setItem(TOKEN, given);
  history.replaceState(null, "", location.pathname + location.search);
}

/** @param {string} [problem] */
function signIn(problem) {
  const input = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true });
  const form = h(
    "form.page.narrow",
    {
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        sessionStorage.setItem(TOKEN, /** @type {HTMLInputElement} */ (input).value);
        void start();
      },
    },
    h("h2", {}, "Sign in"),
    problem === undefined ? null : failure(problem),
    h("label", {}, "Token", input),
    h("div.row", {}, h("button.primary", { type: "submit" }, "Sign in")),
    h("p.muted", {}, "A token that this Operator accepts; it stays in this tab. ", h("code", {}, "make run"), " prints an address that contains one."),
  );
  main.replaceChildren(form);
  input.focus();
}

async function start() {
  const token = sessionStorage.getItem(TOKEN);
  const client = new OperatorClient(base, token === null ? {} : { token });
  let me;
  try {
    me = await client.call("GET", "/operator/me");
  } catch (error) {
    const { status } = /** @type {{status?: number}} */ (error);
    if (status === 401) signIn();
    else if (status === 403) signIn("This token is not valid.");
    else main.replaceChildren(h("div.page", {}, failure(error), h("button", { onclick: start }, "Try again")));
    return;
  }
  showWho(me, token !== null);
  route({ client, me, base });
}

/**
 * @param {Context["me"]} me
 * @param {boolean} signedIn
 */
function showWho(me, signedIn) {
  const name = [me.name, me.user_id === null ? null : `user ${me.user_id}`].filter(Boolean).join(", ");
  const out = h(
    "button.small",
    {
      onclick: () => {
        sessionStorage.removeItem(TOKEN);
        location.hash = "";
        location.reload();
      },
    },
    "Sign out",
  );
  document.getElementById("who")?.replaceChildren(`${name || "no token"} (${me.role}) `, signedIn ? out : "");
}

/**
 * The parts of an address of the console; none of one that is not well-formed.
 * @param {string} hash
 */
function places(hash) {
  try {
    return hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

/** @param {Context} context */
function route(context) {
  /** @type {ReturnType<View> | undefined} */
  let current;
  let shown = "";
  const show = () => {
    const [name = "", ...path] = places(location.hash);
    const key = Object.hasOwn(VIEWS, name) ? name : "sessions";
    const { title, view } = /** @type {{title: string, view: View}} */ (VIEWS[key]);
    document.title = `${title} – Operator`;
    document.getElementById("views")?.replaceChildren(
      ...Object.entries(VIEWS).map(([other, entry]) =>
        h("a", { href: `#/${other}`, "aria-current": other === key ? "page" : undefined }, entry.title),
      ),
    );
    if (shown === key && current?.go?.(path)) return;
    current?.close?.();
    current = view(context, path);
    shown = key;
    main.replaceChildren(current.element);
  };
  window.addEventListener("hashchange", show);
  show();
}

takeToken();
void start();
