import { failure, h, when } from "./dom.js";

/** @import { Context } from "./main.js" */

/** Milliseconds between looks. */
const REFRESH = 5000;

/**
 * The system: modules, engines, usage, models, adjustments.
 * @param {Context} context
 */
export function systemView({ client, me }) {
  const parts = {
    overview: section("Modules"),
    engines: section("Engines"),
    usage: section("Tokens of the last 30 days"),
    resources: section("Models and tools"),
    dashboard: section("Shub"),
    adjustments: section("Adjustments of Switch"),
  };
  let closed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /**
   * @param {keyof typeof parts} name
   * @param {() => Promise<(Node | string | null)[]>} look
   */
  const fill = async (name, look) => {
    let children;
    try {
      children = await look();
    } catch (error) {
      children = [failure(error)];
    }
    if (!closed) parts[name].body.replaceChildren(...children.filter((child) => child !== null));
  };

  /**
   * @param {number} id
   * @param {"apply" | "revert"} what
   */
  const adjust = async (id, what) => {
    try {
      await client.call("POST", `/operator/switch/adjustment/${id}/${what}`);
    } catch (error) {
      parts.adjustments.body.prepend(failure(error));
      return;
    }
    await refresh();
  };

  const user = me.role === "operator" ? {} : { user_id: me.user_id ?? "local" };
  const refresh = async () => {
    clearTimeout(timer);
    await Promise.all([
      fill("overview", async () => overview(await client.call("GET", "/operator/vx11/overview"))),
      fill("engines", async () => engines(await client.call("GET", "/operator/switch/engines"))),
      fill("usage", async () => usage(await client.call("GET", "/operator/usage", { query: { by: "model" } }))),
      fill("resources", async () => resources(await client.call("GET", "/operator/resources"))),
      fill("dashboard", async () => facts(await client.call("GET", "/operator/shub/dashboard"))),
      fill("adjustments", async () => adjustments(await client.call("GET", "/operator/switch/adjustments", { query: user }), adjust)),
    ]);
    if (!closed) timer = setTimeout(() => void refresh(), REFRESH);
  };
  void refresh();
  return {
    element: h("div.page", {}, ...Object.values(parts).map((part) => part.element)),
    close: () => {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** @param {string} title */
function section(title) {
  const body = h("div", {}, h("p.muted", {}, "…"));
  return { body, element: h("section", {}, h("h2", {}, title), body) };
}

const COLOURS = /** @type {Record<string, string>} */ ({ ok: "good", circuit_open: "bad", error: "bad", timeout: "bad" });

const STATES = /** @type {Record<string, string>} */ ({ circuit_open: "circuit open: left alone for 5 s" });

/** @param {any} module */
function moduleFacts(module) {
  const facts = [module.version && `version ${module.version}`, module.latency_ms !== null && `${number(module.latency_ms)} ms`].filter(Boolean);
  return [facts.length > 0 ? h("p.muted", {}, facts.join(", ")) : null, module.error ? h("p.error", {}, module.error) : null];
}

/** @param {any} view */
function overview(view) {
  return [
    h(
      "p",
      {},
      `${view.healthy_modules} of ${view.total_modules} modules of VX11 are healthy. `,
      h("span.muted", {}, `Source: ${view.source === "direct" ? "the modules themselves" : "the gateway"}. Chats need only switch, the model server.`),
    ),
    h(
      "div.grid",
      {},
      ...Object.entries(view.modules).map(([name, module]) => h("div.card", {}, h("h3", {}, name), h(`span.badge.${COLOURS[module.status] ?? "warn"}`, {}, STATES[module.status] ?? String(module.status)), ...moduleFacts(module))),
    ),
  ];
}

/** Milliseconds at which an engine's speed counts half; the formula stands in docs/system.md. */
const HALF_SPEED_MS = 5000;

/** @param {any} view */
function engines(view) {
  if (view.engines.length === 0) return [h("p.muted", {}, "No replies were rated yet.")];
  return [
    barChart(view.engines.map((/** @type {any} */ engine) => ({ label: engine.engine, value: engine.score }))),
    table(
      ["Engine", "Score", "Success ≥", "Speed", "Calls", "Success rate", "p50 ms", "p95 ms", "Tokens"],
      view.engines.map((/** @type {any} */ e) => [e.engine, number(e.score), ...scoreParts(e), e.calls, number(e.success_rate), number(e.latency_p50_ms), number(e.latency_p95_ms), e.tokens]),
    ),
    h("p.muted", {}, "Score = success × speed: the lower bound of the success rate (Wilson, 95 %), and 1 at no latency, 0.5 at 5 s."),
    view.recommend ? h("p", {}, `Recommended: ${view.recommend.reason} `, h("code", {}, JSON.stringify(view.recommend.after_config))) : null,
    view.recommend_error ? h("p.muted", {}, `Nothing can be recommended: ${view.recommend_error.detail}`) : null,
  ];
}

/**
 * The factors of an engine's score: what its success rate is at least, and its speed.
 * @param {any} engine
 */
function scoreParts(engine) {
  if (engine.latency_p50_ms === null) return ["0", "–"];
  const speed = HALF_SPEED_MS / (HALF_SPEED_MS + (engine.latency_p50_ms + engine.latency_p95_ms) / 2);
  return [number(engine.score / speed), number(speed)];
}

/** @param {any} view */
function usage(view) {
  if (view.usage.length === 0) return [h("p.muted", {}, "No tokens were counted yet.")];
  return [
    barChart(view.usage.map((/** @type {any} */ u) => ({ label: u.key || "unknown", value: u.total_tokens }))),
    table(
      ["Model", "Replies", "Prompt", "Completion", "Total"],
      view.usage.map((/** @type {any} */ u) => [u.key || "unknown", u.replies, u.prompt_tokens, u.completion_tokens, u.total_tokens]),
    ),
  ];
}

/** @param {any} view */
function resources(view) {
  return [
    table(
      ["Model", "Status", "Size MB"],
      (view.local_models ?? []).map((/** @type {any} */ model) => [model.name, model.status ?? (model.available ? "available" : ""), number(model.size_mb)]),
    ),
    table(
      ["Tool", "Available", "Version"],
      (view.cli_tools ?? []).map((/** @type {any} */ tool) => [tool.name, tool.available ? "yes" : "no", tool.version ?? ""]),
    ),
  ];
}

/** @param {any} view */
function facts(view) {
  return [
    table(
      ["Field", "Value"],
      Object.entries(view).map(([name, value]) => [name, factText(value)]),
    ),
  ];
}

/**
 * @param {unknown} value
 * @returns {string}
 */
function factText(value) {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.map(factText).join(", ") || "–";
  if (typeof value !== "object") return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
  return Object.entries(value)
    .filter(([, part]) => part !== null)
    .map(([name, part]) => `${name}: ${typeof part === "object" ? `(${factText(part)})` : factText(part)}`)
    .join(", ");
}

/**
 * @param {any} view
 * @param {(id: number, what: "apply" | "revert") => void} adjust
 */
function adjustments(view, adjust) {
  if (view.adjustments.length === 0) return [h("p.muted", {}, "None.")];
  return [
    table(
      ["Id", "After", "Reason", "State", "Created", "Action"],
      view.adjustments.map((/** @type {any} */ a) => [
        a.id,
        h("code", {}, JSON.stringify(a.after_config)),
        a.reason ?? "",
        a.error ?? (a.applied ? "applied" : a.reverted_at ? "reverted" : "recorded"),
        when(a.created_at),
        a.applied
          ? h("button.small", { type: "button", onclick: () => adjust(a.id, "revert") }, "Revert")
          : h("button.small", { type: "button", onclick: () => adjust(a.id, "apply") }, "Apply"),
      ]),
    ),
  ];
}

/**
 * @param {string[]} names
 * @param {any[][]} rows
 */
function table(names, rows) {
  return h(
    "div.table",
    { tabindex: "0", role: "group", "aria-label": names.join(", ") },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell) => h("td", {}, cell instanceof Node ? cell : String(cell ?? "–")))))),
    ),
  );
}

/** @param {{label: string, value: number}[]} bars */
function barChart(bars) {
  const NS = "http://www.w3.org/2000/svg";
  const most = Math.max(...bars.map((bar) => bar.value), 0) || 1;
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", `0 0 400 ${bars.length * 24}`);
  svg.setAttribute("class", "chart");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", bars.map((bar) => `${bar.label} ${number(bar.value)}`).join(", "));
  bars.forEach((bar, place) => {
    const rect = document.createElementNS(NS, "rect");
    const label = document.createElementNS(NS, "text");
    for (const [name, value] of Object.entries({ x: 130, y: place * 24 + 4, height: 16, rx: 3, width: Math.max((bar.value / most) * 210, 1) })) rect.setAttribute(name, String(value));
    label.setAttribute("x", "0");
    label.setAttribute("y", String(place * 24 + 17));
    label.textContent = bar.label.slice(0, 18);
    const figure = document.createElementNS(NS, "text");
    figure.setAttribute("x", "348");
    figure.setAttribute("y", String(place * 24 + 17));
    figure.textContent = number(bar.value);
    svg.append(rect, label, figure);
  });
  return svg;
}

/** @param {unknown} value */
function number(value) {
  return typeof value === "number" ? String(Math.round(value * 1000) / 1000) : "–";
}
